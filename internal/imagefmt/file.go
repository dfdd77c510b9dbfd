package imagefmt

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
)

// Of Linux and FreeBSD. What macOS answers is of no use: see rawimage.
const (
	seekData = 3
	seekHole = 4
)

// File is a file that knows its own holes where the system does, and is data from
// end to end elsewhere. It is a [Finder].
type File struct {
	*os.File
	Size int64
}

// NextData is of [Finder]. It moves the file's position, which nothing uses: reads
// are at offsets. Concurrent calls do not disturb each other, each seek answers
// for itself.
func (f *File) NextData(off int64) (start, end int64, err error) {
	if off >= f.Size {
		return 0, 0, io.EOF
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		return off, f.Size, nil
	}
	start, err = f.Seek(off, seekData)
	if errors.Is(err, syscall.ENXIO) {
		return 0, 0, io.EOF
	}
	if err != nil { // a file system that does not answer
		return off, f.Size, nil
	}
	end, err = f.Seek(start, seekHole)
	if err != nil {
		end = f.Size
	}
	if end = min(end, f.Size); start >= end {
		return 0, 0, io.EOF
	}
	return start, end, nil
}
