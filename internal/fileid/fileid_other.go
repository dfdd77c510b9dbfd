//go:build !linux && !darwin && !freebsd

package fileid

import "io/fs"

func (*ID) fill(fs.FileInfo) {}
