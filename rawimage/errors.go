package rawimage

import (
	"fmt"
	"time"

	"github.com/fastimage/fastimage/internal/pkgerr"
)

// pkg makes the errors of this package.
const pkg = pkgerr.Package("rawimage")

// Conditions, for use with errors.Is.
var (
	// ErrEmpty: the file or device has no bytes.
	ErrEmpty = pkg.New("image is empty")
	// ErrNotImage: the name is a directory, a pipe or something else without
	// bytes at fixed places.
	ErrNotImage = pkg.New("not a regular file or block device")
	// ErrForeignFormat: the file is of another format than RAW.
	ErrForeignFormat = pkg.New("not a RAW image")
	// ErrChanged: the source is no longer what it was when it was opened.
	ErrChanged = pkg.New("image changed while in use")
	// ErrClosed: a Writer was used after Commit, CommitNew or Abort.
	ErrClosed = pkg.New("writer is closed")
)

// OpenError says why a source could not be opened. Err is one of the conditions
// of this package or an error of the operating system (fs.ErrNotExist and
// others, by errors.Is).
type OpenError struct {
	Name string // as given to Open or Create, "" for a source without a name
	Err  error  // see above
}

// Error implements error.
func (e *OpenError) Error() string { return "rawimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *OpenError) Text() string {
	if e.Name == "" {
		return fmt.Sprintf("open: %s", pkgerr.Text(e.Err))
	}
	return fmt.Sprintf("open %s: %s", e.Name, pkgerr.Text(e.Err))
}

// Unwrap returns Err.
func (e *OpenError) Unwrap() error { return e.Err }

// ForeignFormatError means that the source is an image, but not a RAW one. It is
// ErrForeignFormat by errors.Is.
type ForeignFormatError struct {
	Name   string // "" for a source without a name
	Format Format // what it is instead
}

// Error implements error.
func (e *ForeignFormatError) Error() string { return "rawimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *ForeignFormatError) Text() string {
	name := e.Name
	if name == "" {
		name = "image"
	}
	return fmt.Sprintf("%s is %s, not RAW", name, e.Format.Description())
}

// Is reports whether target is ErrForeignFormat.
func (e *ForeignFormatError) Is(target error) bool { return target == ErrForeignFormat }

// ChangedError means that the source was one thing when it was opened and is another now.
// It is ErrChanged by errors.Is.
type ChangedError struct {
	Name             string    // "" for a source without a name
	OldSize, NewSize int64     // bytes
	OldTime, NewTime time.Time // of modification
}

// Error implements error.
func (e *ChangedError) Error() string { return "rawimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *ChangedError) Text() string {
	name := e.Name
	if name == "" {
		name = "image"
	}
	switch {
	case e.OldSize != e.NewSize:
		return fmt.Sprintf("%s changed while in use: it had %d bytes and has %d now", name, e.OldSize, e.NewSize)
	case !e.OldTime.Equal(e.NewTime):
		return fmt.Sprintf("%s changed while in use: it was modified at %s", name, e.NewTime.UTC().Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s changed while in use: its time of change differs", name)
}

// Is reports whether target is ErrChanged.
func (e *ChangedError) Is(target error) bool { return target == ErrChanged }
