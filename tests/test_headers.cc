// The one source of the program that precompiles what most tests include.
