package quickimport

// Sign is the AK/SK signer, for tests with vectors of their own.
var Sign = sign
