package rawimage

import "github.com/fastimage/fastimage/internal/imageerr"

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images, so that one errors.As finds it whatever the
// format.
type FormatError = imageerr.Error

// The kinds of a FormatError, for errors.Is, which matches exactly one of them.
// They are the same values in all packages that read images.
var (
	// ErrDamaged means that an image contradicts its format.
	ErrDamaged = imageerr.ErrDamaged
	// ErrTruncated means that an image ends before its own structures do.
	ErrTruncated = imageerr.ErrTruncated
	// ErrUnsupported means that an image is valid as far as it was read, but
	// uses something that is not supported.
	ErrUnsupported = imageerr.ErrUnsupported
	// ErrEncrypted means that an image is encrypted.
	ErrEncrypted = imageerr.ErrEncrypted
	// ErrMissingFile means that part of the disk is in another file, which was
	// not found, or which the caller has not allowed to be opened.
	ErrMissingFile = imageerr.ErrMissingFile
)
