package imagefmt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// chunk is how much of a table is read at once.
const chunk = 64 << 10

// ReadFull reads len(p) bytes. The caller has checked them against the size it
// was given, so an early end is an error of the source, not of the format.
// prefix is the format's, what is being read is what.
func ReadFull(prefix string, ra io.ReaderAt, p []byte, off int64, what string) error {
	if len(p) == 0 {
		return nil
	}
	n, err := ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: read %s at offset %d: %w", prefix, what, off+int64(n), err)
}

// Clip is the first step of ReadAt for a disk of size bytes: it returns the part
// of p that is on the disk, and the error to return once that is read.
func Clip(prefix string, p []byte, off, size int64) ([]byte, error) {
	switch {
	case off < 0:
		return nil, fmt.Errorf("%s: read at %d: %w", prefix, off, fs.ErrInvalid)
	case off >= size:
		return nil, io.EOF
	case int64(len(p)) > size-off:
		return p[:size-off], io.EOF
	}
	return p, nil
}

// EachEntry calls do with n entries of width bytes that are at offset at of ra,
// in order and with few of them in memory. read reads them.
func EachEntry(at, n, width int64, read func(p []byte, off int64) error, do func(i int64, entry []byte) error) error {
	buf := make([]byte, min(n*width, chunk/width*width))
	for i := int64(0); i < n; {
		part := buf[:min(int64(len(buf)), (n-i)*width)]
		if err := read(part, at+i*width); err != nil {
			return err
		}
		for ; len(part) > 0; part = part[width:] {
			if err := do(i, part[:width]); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// CeilDiv divides and rounds up, without a sum that could overflow.
func CeilDiv(a, b int64) int64 {
	n := a / b
	if a%b != 0 {
		n++
	}
	return n
}

// CheckSource refuses a source that is the caller's mistake rather than a
// damaged image. The error matches fs.ErrInvalid.
func CheckSource(prefix string, ra io.ReaderAt, size int64) error {
	if ra == nil || size < 0 {
		return fmt.Errorf("%s: image of %d bytes: %w", prefix, size, fs.ErrInvalid)
	}
	return nil
}
