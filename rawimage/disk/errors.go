package disk

import (
	"fmt"

	"github.com/fastimage/fastimage/internal/imageerr"
)

// ErrTruncated means that the disk ends before a partition in use does. It is the same
// value as rawimage.ErrTruncated.
var ErrTruncated = imageerr.ErrTruncated

// TruncatedError reports that a partition in use lies past the end of the disk.
// It is ErrTruncated by errors.Is.
type TruncatedError struct {
	Name   string // of the image; "" for a source without a name
	Size   int64  // bytes that the disk has
	Need   int64  // bytes that the partition table asks for
	Source string // what asks for them, such as "partition 3"
}

// Error implements error.
func (e *TruncatedError) Error() string {
	name := e.Name
	if name == "" {
		name = "image"
	}
	return fmt.Sprintf("disk: %s is truncated: it has %d bytes, but its %s needs %d", name, e.Size, e.Source, e.Need)
}

// Is reports whether target is ErrTruncated.
func (e *TruncatedError) Is(target error) bool { return target == ErrTruncated }
