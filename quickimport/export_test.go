package quickimport

import "time"

// Sign is the AK/SK signer, for tests with vectors of their own.
var Sign = sign

// SetFirstPause shortens the pauses between the tries of a request. It is for
// TestMain, before anything runs.
func SetFirstPause(d time.Duration) { firstPause = d }
