//go:build !linux

package rawimage

import "os"

func startWriteback(*os.File, int64, int64) {}
