package vhdx

import (
	"io"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images.
type FormatError = imageerr.Error

// The kinds of a FormatError, for errors.Is, which matches exactly one of them.
// They are the same values in all packages that read images.
var (
	// ErrDamaged: the file is not VHDX, or contradicts the format.
	ErrDamaged = imageerr.ErrDamaged
	// ErrTruncated: the file ends before its own structures do.
	ErrTruncated = imageerr.ErrTruncated
	// ErrUnsupported: the image is valid as far as it was read, but uses
	// something that this package does not read; the message names it.
	ErrUnsupported = imageerr.ErrUnsupported
)

const format = imageerr.Format("vhdx")

func readFull(ra io.ReaderAt, p []byte, off int64, what string) error {
	return imagefmt.ReadFull("vhdx", ra, p, off, what)
}
