//go:build !linux && !freebsd

package rawimage

import (
	"errors"
	"os"
)

func seeksHoles(*os.File) bool { return false }

func seekData(*os.File, int64) (start, end int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
