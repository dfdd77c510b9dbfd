package vmdk

import (
	"io"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images.
type FormatError = imageerr.Error

// ReferenceError is the details of a FormatError about another file that an
// image names: an extent, or the descriptor that lists the extents.
type ReferenceError = imageerr.ReferenceError

// The kinds of a FormatError, for errors.Is, which matches exactly one of them.
// They are the same values in all packages that read images.
var (
	// ErrDamaged: the file is not VMDK, or contradicts the format.
	ErrDamaged = imageerr.ErrDamaged
	// ErrTruncated: the file ends before its own structures do.
	ErrTruncated = imageerr.ErrTruncated
	// ErrUnsupported: the image is valid as far as it was read, but uses
	// something that this package does not read; the message names it.
	ErrUnsupported = imageerr.ErrUnsupported
	// ErrEncrypted: the disk is encrypted.
	ErrEncrypted = imageerr.ErrEncrypted
	// ErrMissingFile: an extent is in another file, which was not found, or
	// WithDir did not say where it may be opened. The FormatError's Err is a
	// *[ReferenceError].
	ErrMissingFile = imageerr.ErrMissingFile
)

const format = imageerr.Format("vmdk")

func readFull(ra io.ReaderAt, p []byte, off int64, what string) error {
	return imagefmt.ReadFull("vmdk", ra, p, off, what)
}
