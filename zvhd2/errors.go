package zvhd2

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/fastimage/fastimage/internal/pkgerr"

	"github.com/fastimage/fastimage/internal/imageerr"
)

// pkg makes the errors of this package.
const pkg = pkgerr.Package("zvhd2")

// FormatError reports what is wrong with a file, and where. Its Kind is one of
// the kinds below, its Format "zvhd2" for ZVHD too, its Field named as the format
// names it.
//
// An error of the file system or the network that occurred while a file was read
// is not a FormatError, and neither is a mistake of the caller, such as a
// negative size or an option out of range: that matches [fs.ErrInvalid].
type FormatError = imageerr.Error

// The kinds of a [FormatError], for errors.Is. All image formats share them.
var (
	// ErrDamaged means that the file contradicts the format, a checksum, or
	// itself.
	ErrDamaged = imageerr.ErrDamaged
	// ErrTruncated means that the file ends early; [Recover] may save what is
	// intact.
	ErrTruncated = imageerr.ErrTruncated
	// ErrUnsupported means a version, block size or method that is not
	// supported, or a disk larger than [WithMaxDiskSize] allows.
	ErrUnsupported = imageerr.ErrUnsupported
)

var (
	// ErrSource means that a source of a disk breaks the contract of its
	// interface.
	ErrSource = pkg.New("source breaks its contract")
	// ErrConsumed means that a [StreamReader] cannot decode the disk because
	// blocks of it have already been read.
	ErrConsumed = pkg.New("stream has already been read from")
)

// NoBlock is the Block of a [FormatError] or [Problem] that concerns no block.
const NoBlock = imageerr.None

// format makes the errors of this package.
const format = imageerr.Format("zvhd2")

// asFormatError returns the FormatError in err, nil if the file is not to blame.
func asFormatError(err error) *FormatError {
	fe, _ := errors.AsType[*FormatError](err)
	return fe
}

// invalid returns the error of a caller's mistake.
func invalid(text string, args ...any) error {
	return pkg.Errorf("%s: %w", fmt.Sprintf(text, args...), fs.ErrInvalid)
}
