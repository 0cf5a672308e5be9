# each target is a script of the same name
.PHONY: demo test test-slow attack kills same-bytes bench clean
demo test test-slow attack kills same-bytes bench clean:
	@scripts/$@
