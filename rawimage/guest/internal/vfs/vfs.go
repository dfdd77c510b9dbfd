// Package vfs is what the readers of file systems have in common, and the tree
// of a guest: its root and what is mounted below it, with symbolic links resolved
// inside the tree only.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// ErrDamaged reports a structure that no sound file system has.
var ErrDamaged = errors.New("damaged file system")

// ErrUnsupported reports a file system, or a feature of one, that is not read.
var ErrUnsupported = errors.New("unsupported")

// ErrTooLarge reports a directory or file beyond what an examination reads.
var ErrTooLarge = errors.New("too large to examine")

// Damaged returns an ErrDamaged that says what is wrong.
func Damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Unsupported returns an ErrUnsupported that says what.
func Unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// Limits of what is read of one file system.
const (
	MaxDirBytes = 32 << 20 // size of one directory
	MaxEntries  = 1 << 19  // names in one directory
	MaxLink     = 4096     // length of a symbolic link's target
)

// FileSystem is a read-only file system.
type FileSystem interface {
	Root() uint64                 // ID of the root directory
	Open(id uint64) (Node, error) // file or directory by its ID
	FoldsCase() bool              // names differing only in case are the same
}

// Node is a file, a directory or a symbolic link.
type Node interface {
	Info() Info
	io.ReaderAt                // content of a file
	List() ([]Entry, error)    // entries of a directory, without "." and ".."
	Readlink() (string, error) // target of a symbolic link
}

// Info is what a file system records about a node.
type Info struct {
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
}

// Entry is a name in a directory.
type Entry struct {
	Name string
	ID   uint64
}

// ReadFull reads len(p) bytes at off; fewer are a damaged file system.
func ReadFull(ra io.ReaderAt, p []byte, off int64) error {
	if off < 0 {
		return Damaged("offset %d", off)
	}
	n, err := ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return Damaged("ends before byte %d", off+int64(len(p)))
	}
	return err
}

// Extent maps bytes of a file to bytes of its volume.
type Extent struct {
	Logical, Physical, Length int64
	Zero                      bool // allocated but never written
}

// ReadExtents reads a file of size bytes that extents, in order of Logical, map
// to ra. What no extent maps is zeros.
func ReadExtents(ra io.ReaderAt, extents []Extent, size int64, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, Damaged("offset %d", off)
	}
	if off >= size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > size-off {
		p, end = p[:size-off], io.EOF
	}
	for n < len(p) {
		k, err := readExtent(ra, extents, p[n:], off+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, end
}

// readExtent reads up to the next boundary of extents.
func readExtent(ra io.ReaderAt, extents []Extent, p []byte, off int64) (int, error) {
	lo, hi := 0, len(extents)
	for lo < hi { // first extent that ends after off
		if mid := (lo + hi) / 2; extents[mid].Logical+extents[mid].Length <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(extents) {
		clear(p)
		return len(p), nil
	}
	e := extents[lo]
	if e.Logical > off {
		p = p[:min(int64(len(p)), e.Logical-off)]
		clear(p)
		return len(p), nil
	}
	p = p[:min(int64(len(p)), e.Logical+e.Length-off)]
	if e.Zero {
		clear(p)
		return len(p), nil
	}
	return len(p), ReadFull(ra, p, e.Physical+off-e.Logical)
}
