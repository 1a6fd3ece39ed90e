-- What every spec may rely on: the project's folders in the search path.
package.path = "tests/support/?.lua;tests/lint/?.lua;lua/?.lua;" .. package.path
