//go:build !unix

package atomicfile

import "os"

// lock is not needed where an open file cannot be removed.
func lock(*os.File) (ok bool) { return true }
