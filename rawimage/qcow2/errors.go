package qcow2

import (
	"errors"
	"io"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images.
type FormatError = imageerr.Error

// ReferenceError is the details of a FormatError about another file that an
// image names: a backing file, or an external data file. Its Err says why the
// file was not used: ErrNotAllowed, ErrOutside, ErrLoop, ErrRemote,
// fs.ErrNotExist and others, by errors.Is.
type ReferenceError = imageerr.ReferenceError

// The kinds of a FormatError, for errors.Is, which matches exactly one of them.
// They are the same values in all packages that read images.
var (
	// ErrDamaged: the file is not QCOW2, or contradicts the format.
	ErrDamaged = imageerr.ErrDamaged
	// ErrTruncated: the file ends before its own structures do.
	ErrTruncated = imageerr.ErrTruncated
	// ErrUnsupported: the image is valid as far as it was read, but uses
	// something that this package does not read; the message names it.
	ErrUnsupported = imageerr.ErrUnsupported
	// ErrEncrypted: the clusters are encrypted.
	ErrEncrypted = imageerr.ErrEncrypted
	// ErrMissingFile: part of the disk is in another file, which was not found,
	// or which no option allowed to be opened. The FormatError's Err is a
	// *[ReferenceError].
	ErrMissingFile = imageerr.ErrMissingFile
)

// Details of a FormatError, for errors.Is.
var (
	// ErrNotAllowed: neither WithDir nor WithFS was given.
	ErrNotAllowed = imageerr.ErrNotAllowed
	// ErrOutside: the name of another file leads out of the directory given.
	ErrOutside = imageerr.ErrOutside
	// ErrLoop: a chain of backing files comes back to itself, or does not end.
	ErrLoop = imageerr.ErrLoop
	// ErrRemote: another file is behind a network protocol, or described by json:.
	ErrRemote = imageerr.ErrRemote
)

// ErrClosed means that the Reader was used after Close.
var ErrClosed = errors.New("qcow2: reader is closed")

const format = imageerr.Format("qcow2")

func readFull(ra io.ReaderAt, p []byte, off int64) error {
	return imagefmt.ReadFull("qcow2", ra, p, off, "image")
}
