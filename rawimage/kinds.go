package rawimage

import "github.com/fastimage/fastimage/internal/imageerr"

// FormatError reports what is wrong with an image, and where. It is one type in
// all packages that read images, so that one errors.As finds it whatever the
// format.
type FormatError = imageerr.Error

// ReferenceError is the details of a FormatError about another file that an
// image names.
type ReferenceError = imageerr.ReferenceError

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

// Details of a FormatError, for errors.Is, where a kind needs advice of its own.
var (
	// ErrDelta: the image holds the changes to another disk (a snapshot, a
	// differencing disk, a linked clone); it has to be merged first.
	ErrDelta = imageerr.ErrDelta
	// ErrRemote: an image names a file that is not local: a network protocol, or
	// a json: description.
	ErrRemote = imageerr.ErrRemote
	// ErrDevice: the image maps a physical device.
	ErrDevice = imageerr.ErrDevice
	// ErrPart: the file is one of several that make up an image. The
	// ReferenceError names the descriptor to open instead.
	ErrPart = imageerr.ErrPart
	// ErrOutside: the name of another file leads out of the directory in which
	// such files may be opened.
	ErrOutside = imageerr.ErrOutside
	// ErrNotAllowed: no directory was given in which other files may be opened.
	ErrNotAllowed = imageerr.ErrNotAllowed
	// ErrLoop: a chain of files comes back to itself, or does not end.
	ErrLoop = imageerr.ErrLoop
)
