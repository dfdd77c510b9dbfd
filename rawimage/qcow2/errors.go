package qcow2

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions, for use with errors.Is.
var (
	// ErrFormat: the file is not QCOW2, or damaged.
	ErrFormat = errors.New("qcow2: not a valid QCOW2 image")
	// ErrUnsupported: the file is right as far as can be told, and uses
	// something this package does not read.
	ErrUnsupported = errors.New("qcow2: unsupported feature")
	// ErrReference: part of the disk is in another file, which was not allowed
	// to be opened or could not be.
	ErrReference = errors.New("qcow2: image needs another file")
	// ErrOutside: the name of another file leads out of the directory given.
	ErrOutside = errors.New("qcow2: name leads out of the directory")
	// ErrLoop: a chain of backing files comes back to itself or does not end.
	ErrLoop = errors.New("qcow2: backing files go round in a loop")
	// ErrClosed: the Reader was used after Close.
	ErrClosed = errors.New("qcow2: reader is closed")
)

// FormatError says what is wrong with an image and where. It is
// [ErrUnsupported] by errors.Is when Err is, and [ErrFormat] otherwise.
type FormatError struct {
	Offset int64  // byte in the file that holds the value
	Field  string // name of the value, as the specification has it
	Err    error  // what is wrong with it
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("qcow2: %s at offset %d: %s", e.Field, e.Offset, trim(e.Err))
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

// Is reports whether target is ErrFormat and the image is wrong rather than
// unsupported.
func (e *FormatError) Is(target error) bool {
	return target == ErrFormat && !errors.Is(e.Err, ErrUnsupported)
}

// What an image may need other files for, the Kind of a [ReferenceError].
const (
	KindBacking = "backing file"       // holds what the image itself does not
	KindData    = "external data file" // holds the clusters
)

// ReferenceError: an image needs another file. It is [ErrReference] by
// errors.Is, and whatever Err is.
type ReferenceError struct {
	Kind string // KindBacking or KindData
	Name string // as it stands in the image
	Err  error  // ErrReference: no directory was given; ErrOutside, ErrLoop, ErrUnsupported, fs.ErrNotExist, ...
}

// Error implements error.
func (e *ReferenceError) Error() string {
	if e.Err == ErrReference { //nolint:errorlint // the bare sentinel, not something that wraps it
		return fmt.Sprintf("qcow2: image needs the %s %q, which is only opened in a directory given for it", e.Kind, e.Name)
	}
	return fmt.Sprintf("qcow2: %s %q: %s", e.Kind, e.Name, trim(e.Err))
}

// Unwrap returns Err.
func (e *ReferenceError) Unwrap() error { return e.Err }

// Is reports whether target is ErrReference.
func (e *ReferenceError) Is(target error) bool { return target == ErrReference }

// trim takes the package's prefix off an error that is going to get it again.
func trim(err error) string { return strings.TrimPrefix(err.Error(), "qcow2: ") }

// bad is a FormatError with a formatted cause.
func bad(off int64, field, format string, args ...any) error {
	return &FormatError{Offset: off, Field: field, Err: fmt.Errorf(format, args...)}
}

// unsupported is a FormatError that is ErrUnsupported.
func unsupported(off int64, field, format string, args ...any) error {
	return &FormatError{Offset: off, Field: field, Err: fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))}
}
