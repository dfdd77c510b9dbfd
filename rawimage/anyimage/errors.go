package anyimage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fastimage/fastimage/rawimage"
)

// Conditions, for use with errors.Is.
var (
	// ErrUnsupported: the format is known and not read here.
	ErrUnsupported = errors.New("anyimage: format is not supported")
	// ErrCompressed: the file is compressed (gzip, xz, zstd), so it has no
	// bytes at fixed places; OpenStream reads it.
	ErrCompressed = errors.New("anyimage: image is compressed")
	// ErrSize: a disk is not as large as was said, or a stream longer than allowed.
	ErrSize = errors.New("anyimage: disk has another size")
	// ErrStream: compressed data is damaged, cut short, or followed by
	// something else.
	ErrStream = errors.New("anyimage: damaged stream")
)

// OpenError says which image could not be opened as what. Err is an error of the
// format's package.
type OpenError struct {
	Name   string          // "" for a source without a name
	Format rawimage.Format // what it was taken for
	Err    error           // of the format's package
}

// Error implements error.
func (e *OpenError) Error() string {
	// The format's package says its name itself, in most cases.
	if text := e.Err.Error(); strings.HasPrefix(text, string(e.Format)+": ") {
		return "anyimage: open " + named(e.Name) + ": " + text
	}
	return fmt.Sprintf("anyimage: open %s: %s: %v", named(e.Name), e.Format, e.Err)
}

// Unwrap returns Err.
func (e *OpenError) Unwrap() error { return e.Err }

// UnsupportedError: the image is of a format that is not read, or that is not
// read where it is. It is ErrUnsupported by errors.Is, and ErrCompressed where
// OpenStream would do.
type UnsupportedError struct {
	Name   string          // "" for a source without a name
	Format rawimage.Format // of the image
	Inside rawimage.Format // what it was found in: gzip, xz, zstd, or ""
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	name := named(e.Name)
	switch {
	case e.Inside != "":
		return fmt.Sprintf("anyimage: %s is %s, compressed with %s, and of compressed images only RAW is read: decompress it first: %s -dc %s > disk.%s",
			name, e.Format.Description(), e.Inside, e.Inside, name, e.Format)
	case compressed(e.Format):
		return fmt.Sprintf("anyimage: %s is %s, which can only be read from its start to its end: %s", name, e.Format.Description(), e.Format.Advice(name))
	}
	return fmt.Sprintf("anyimage: %s is %s, which is not read: %s", name, e.Format.Description(), e.Format.Advice(name))
}

// Is reports whether target is ErrUnsupported, or ErrCompressed and applies.
func (e *UnsupportedError) Is(target error) bool {
	return target == ErrUnsupported || target == ErrCompressed && e.Inside == "" && compressed(e.Format)
}

// SizeError: a disk has fewer or more bytes than it was opened for. It is
// ErrSize by errors.Is.
type SizeError struct {
	Name string // of the compressed file
	Want int64  // bytes
	Got  int64  // bytes it has, -1 if only known to be more
}

// Error implements error.
func (e *SizeError) Error() string {
	switch {
	case e.Got < 0 && e.Want == MaxStreamSize:
		return fmt.Sprintf("anyimage: %s is larger than 1 TiB when decompressed, the most that is read", e.Name)
	case e.Got < 0:
		return fmt.Sprintf("anyimage: %s has more than the %d bytes decompressed that it was opened for", e.Name, e.Want)
	}
	return fmt.Sprintf("anyimage: %s holds a disk of %d bytes, not of the %d it was opened for", e.Name, e.Got, e.Want)
}

// Is reports whether target is ErrSize.
func (e *SizeError) Is(target error) bool { return target == ErrSize }

// StreamError: compressed data cannot be decompressed. It is ErrStream by
// errors.Is, and Err.
type StreamError struct {
	Name   string          // of the compressed file
	Format rawimage.Format // gzip, xz or zstd
	Offset int64           // in the disk, up to which it could be decompressed
	Err    error           // of the decompressor
}

// Error implements error.
func (e *StreamError) Error() string {
	return fmt.Sprintf("anyimage: %s: %s data damaged or cut short after %d bytes of the disk: %v; fetch it again", e.Name, e.Format, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *StreamError) Unwrap() error { return e.Err }

// Is reports whether target is ErrStream.
func (e *StreamError) Is(target error) bool { return target == ErrStream }

func named(name string) string {
	if name == "" {
		return "image"
	}
	return name
}
