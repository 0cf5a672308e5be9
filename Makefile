.PHONY: demo test test-slow attack same-bytes bench clean
demo:
	@scripts/demo
test:
	@scripts/test
test-slow:
	@scripts/test-slow
same-bytes:
	@scripts/same-bytes
attack:
	@scripts/attack
bench:
	@scripts/bench
clean:
	@scripts/clean
