//go:build !linux

package rawimage

import "os"

func deviceSize(f *os.File) (int64, error) { return seekSize(f) }
