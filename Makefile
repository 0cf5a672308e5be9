.PHONY: demo test test-slow attack same-bytes bench clean

demo test test-slow attack same-bytes bench clean:
	@scripts/$@
