.PHONY: demo test test-slow same-bytes bench clean

demo:
	@scripts/demo
test:
	@scripts/test
test-slow:
	@scripts/test-slow
same-bytes:
	@scripts/same-bytes
bench:
	@scripts/bench
clean:
	@scripts/clean
