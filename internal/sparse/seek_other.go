//go:build !linux && !freebsd

package sparse

import (
	"errors"
	"os"
)

func seekData(*os.File, int64) (start, end int64, err error) { return 0, 0, errors.ErrUnsupported }
