package sparse

import (
	"io"
	"os"
)

// File is an open regular file that knows its own holes. It is a [Finder]; on a
// file system that does not answer SEEK_DATA, and on a device, all of it is data.
type File struct {
	*os.File
	size  int64
	holes bool
}

// NewFile returns the first size bytes of f as a File. It does not take over
// closing f.
func NewFile(f *os.File, size int64) *File {
	_, _, err := seekData(f, 0)
	return &File{f, size, err == nil || err == io.EOF}
}

// Size returns the bytes that the file had when it was opened.
func (f *File) Size() int64 { return f.size }

// HasHoles reports whether the file system tells holes from data.
func (f *File) HasHoles() bool { return f.holes }

// NextData follows the contract of the package.
func (f *File) NextData(off int64) (start, end int64, err error) {
	if !f.holes {
		return NextData(nil, off, f.size)
	}
	return NextData(seeker{f.File}, off, f.size)
}

// seeker asks the operating system.
type seeker struct{ f *os.File }

func (s seeker) NextData(off int64) (start, end int64, err error) { return seekData(s.f, off) }
