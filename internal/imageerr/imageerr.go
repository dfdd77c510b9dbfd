// Package imageerr is the error model of all image formats: one struct that says
// where an image is wrong, and one set of kinds that says in what way. The
// packages that read images export both under names of their own, by alias, so
// that a caller asks one question ("is this file damaged?") whatever the format.
//
// An error of the file system or the network that occurred while an image was
// read is not one of these: it stays what it is.
package imageerr

import (
	"errors"
	"fmt"

	"github.com/fastimage/fastimage/internal/pkgerr"
)

// The kinds, for errors.Is. An Error matches exactly one of them.
var (
	// ErrDamaged means that the image contradicts its format.
	ErrDamaged = errors.New("image: damaged")
	// ErrTruncated means that the image ends before its own structures do.
	ErrTruncated = errors.New("image: truncated")
	// ErrUnsupported means that the image is valid as far as it was read, but
	// uses something that is not supported.
	ErrUnsupported = errors.New("image: unsupported")
	// ErrEncrypted means that the image is encrypted.
	ErrEncrypted = errors.New("image: encrypted")
	// ErrMissingFile means that part of the disk is in another file, which was
	// not found, or which the caller has not allowed to be opened.
	ErrMissingFile = errors.New("image: missing file")
)

// Details of an Error, for errors.Is, where a kind needs advice of its own.
var (
	// ErrDelta: the image holds the changes to another disk (a snapshot, a
	// differencing disk, a linked clone); it has to be merged first.
	ErrDelta = errors.New("a delta of another disk")
	// ErrRemote: the file named is not a local file: a network protocol, or a
	// json: description.
	ErrRemote = errors.New("not a local file")
	// ErrDevice: the image maps a physical device.
	ErrDevice = errors.New("a mapping of a physical device")
	// ErrPart: the file is one of several that make up an image; the descriptor
	// that lists them is to be opened instead.
	ErrPart = errors.New("one part of an image of several files")
	// ErrOutside: the name of another file leads out of the directory in which
	// such files may be opened.
	ErrOutside = errors.New("outside of the directory allowed")
	// ErrNotAllowed: no directory was given in which other files may be opened.
	ErrNotAllowed = errors.New("no directory was given to open it in")
	// ErrLoop: a chain of files comes back to itself, or does not end.
	ErrLoop = errors.New("the chain of files does not end")
)

// None is the Offset of an Error that no single place is responsible for, and
// the Block of one that concerns no block.
const None = -1

// Error reports what is wrong with an image, and where.
type Error struct {
	Format string // "qcow2", "vmdk", "vhd", "vhdx", "vdi", "zvhd2", "mf", ...
	Offset int64  // byte in the file, or None
	Field  string // the structure or field, as the format's specification names it
	Block  int64  // block of the disk, or None
	Kind   error  // one of the kinds above
	Err    error  // details; nil if Kind says it all
}

// Error implements error. The kind is named unless the details explain it.
func (e *Error) Error() string {
	msg := e.Format + ": "
	if e.Block != None {
		msg += fmt.Sprintf("block %d: ", e.Block)
	}
	if e.Field != "" {
		msg += e.Field
		if e.Offset != None {
			msg += fmt.Sprintf(" at offset %d", e.Offset)
		}
		msg += ": "
	}
	return msg + e.Detail()
}

// Detail returns the message without format and place.
func (e *Error) Detail() string {
	if e.Err != nil {
		return pkgerr.Text(e.Err)
	}
	switch e.Kind {
	case ErrTruncated:
		return "truncated"
	case ErrUnsupported:
		return "unsupported"
	case ErrEncrypted:
		return "encrypted"
	case ErrMissingFile:
		return "missing file"
	}
	return "damaged"
}

// Unwrap returns the kind and the details, so that errors.Is matches both.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// A Format makes the errors of one format.
type Format string

// New returns an error of a kind. off may be None; the details are formatted as
// by fmt.Errorf, so %w works.
func (f Format) New(kind error, off int64, field, format string, args ...any) *Error {
	return &Error{Format: string(f), Offset: off, Field: field, Block: None, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Damaged returns an error of kind ErrDamaged.
func (f Format) Damaged(off int64, field, format string, args ...any) *Error {
	return f.New(ErrDamaged, off, field, format, args...)
}

// Truncated returns an error of kind ErrTruncated.
func (f Format) Truncated(off int64, field, format string, args ...any) *Error {
	return f.New(ErrTruncated, off, field, format, args...)
}

// Unsupported returns an error of kind ErrUnsupported.
func (f Format) Unsupported(off int64, field, format string, args ...any) *Error {
	return f.New(ErrUnsupported, off, field, format, args...)
}

// InBlock returns e with its block set.
func (e *Error) InBlock(block int64) *Error {
	e.Block = block
	return e
}

// A ReferenceError is the details of an Error about another file that an image
// names.
type ReferenceError struct {
	Role string // what the file is to the image: one of the roles below
	Name string // as it stands in the image, or that of the file to open instead
	Err  error  // why it cannot be used
}

// The roles of a file that an image names.
const (
	RoleBacking    = "backing file"       // holds what the image itself does not
	RoleData       = "external data file" // holds the data of the image
	RoleExtent     = "extent"             // holds a part of the disk
	RoleDescriptor = "descriptor"         // lists the parts; to be opened instead
)

// Error implements error. The name is quoted, which escapes control characters.
func (e *ReferenceError) Error() string { return fmt.Sprintf("%q: %v", e.Name, e.Err) }

// Unwrap returns Err.
func (e *ReferenceError) Unwrap() error { return e.Err }
