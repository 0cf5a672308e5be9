.PHONY: demo test test-slow bench clean

demo:
	@scripts/demo
test:
	@scripts/test
test-slow:
	@scripts/test-slow
bench:
	@scripts/bench
clean:
	@scripts/clean
