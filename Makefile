.PHONY: demo test test-slow attack kills same-bytes bench clean
demo:
	@scripts/demo
test:
	@scripts/test
test-slow:
	@scripts/test-slow
kills:
	@scripts/kills
same-bytes:
	@scripts/same-bytes
attack:
	@scripts/attack
bench:
	@scripts/bench
clean:
	@scripts/clean
