package vhdx

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// Conditions, for use with errors.Is.
var (
	// ErrFormat: the file is not a VHDX image, or a damaged one.
	ErrFormat = errors.New("vhdx: not a valid VHDX image")
	// ErrUnsupported: the image is valid as far as it was read, but needs
	// something this package does not do; the message names it.
	ErrUnsupported = errors.New("vhdx: not supported")
)

// FormatError says what of an image could not be taken. It is ErrFormat or
// ErrUnsupported by errors.Is.
type FormatError struct {
	Offset int64  // in the file, -1 where no one place is at fault
	Field  string // the structure or field, such as "footer checksum"
	Err    error  // what is wrong with it
}

// Error implements error.
func (e *FormatError) Error() string {
	msg := strings.TrimPrefix(e.Err.Error(), "vhdx: ")
	if e.Offset < 0 {
		return fmt.Sprintf("vhdx: %s: %s", e.Field, msg)
	}
	return fmt.Sprintf("vhdx: %s at offset %d: %s", e.Field, e.Offset, msg)
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

func malformed(off int64, field, format string, args ...any) error {
	return &FormatError{Offset: off, Field: field, Err: fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))}
}

func unsupported(off int64, field, format string, args ...any) error {
	return &FormatError{Offset: off, Field: field, Err: fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))}
}

func readFull(ra io.ReaderAt, p []byte, off int64, what string) error {
	return imagefmt.ReadFull("vhdx", ra, p, off, what)
}
