.PHONY: demo test test-slow attack bench clean

demo:
	@scripts/demo
test:
	@scripts/test
test-slow:
	@scripts/test-slow
attack:
	@scripts/attack
bench:
	@scripts/bench
clean:
	@scripts/clean
