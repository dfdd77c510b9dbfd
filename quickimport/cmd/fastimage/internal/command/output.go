package command

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/term"

	"github.com/fastimage/fastimage/internal/atomicfile"
	"github.com/fastimage/fastimage/rawimage"
)

// output is a file that appears under its name whole or not at all; standard
// output, devices and pipes are written in place.
type output struct {
	place  *os.File         // what is written in place
	file   *atomicfile.File // a file that is written in sequence
	raw    *rawimage.Writer // a RAW disk in a file
	target string
	force  bool
	std    io.Writer // standard output
}

// Write writes in sequence to anything but a RAW disk in a file.
func (o *output) Write(p []byte) (int, error) {
	switch {
	case o.std != nil:
		return o.std.Write(p)
	case o.file != nil:
		return o.file.Write(p)
	}
	return o.place.Write(p)
}

const existsAdvice = "remove it, choose another name, or overwrite it with -f"

// checkOutput refuses an output that cannot be written: an existing file unless
// force is set, and the source itself. place reports whether it is a device or a
// pipe, which is written in place.
func (a *app) checkOutput(name, source string, force bool) (place bool, err error) {
	if name == "-" {
		if isTerminal(a.stdout) {
			return false, advisef("redirect it to a file or a pipe", "standard output is a terminal")
		}
		return false, nil
	}
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case st.IsDir():
		return false, advisef("give the name of the file to write", "%s is a directory", name)
	case sameFile(st, source):
		return false, advisef("choose another name for the output", "%s is the source", name)
	case !force:
		return false, advisef(existsAdvice, "%s exists", name)
	}
	return !st.Mode().IsRegular(), nil
}

// create opens the output for name; "-" is standard output. For a RAW disk
// rawSize is its size, else 0.
func (a *app) create(name, source string, force bool, rawSize int64) (*output, error) {
	place, err := a.checkOutput(name, source, force)
	switch {
	case err != nil:
		return nil, err
	case name == "-":
		return &output{std: a.stdout, target: name}, nil
	case place:
		// A device or a pipe cannot be replaced by a rename.
		f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if errors.Is(err, syscall.ENXIO) { // where a blocking open would wait for ever
			return nil, advisef("start the reader first", "nobody reads from the pipe %s", name)
		}
		if err != nil {
			return nil, err
		}
		return &output{place: f, target: name}, nil
	}
	// Through a symbolic link the file it points at is replaced.
	target := name
	if real, err := filepath.EvalSymlinks(name); err == nil {
		target = real
	}
	if rawSize > 0 {
		raw, err := rawimage.Create(target, rawSize)
		return &output{raw: raw, target: target, force: force}, err
	}
	file, err := atomicfile.Create(target, 0o666)
	return &output{file: file, target: target, force: force}, err
}

func sameFile(st fs.FileInfo, source string) bool {
	src, err := os.Stat(source)
	return err == nil && os.SameFile(st, src)
}

// WriteAt writes in no order to anything but standard output.
func (o *output) WriteAt(p []byte, off int64) (int, error) {
	if o.file != nil {
		return o.file.WriteAt(p, off)
	}
	return o.disk().WriteAt(p, off)
}

// disk is where a disk is written to in no order.
func (o *output) disk() io.WriterAt {
	if o.raw != nil {
		return o.raw
	}
	return o.place
}

// pending is a file that has no name yet.
type pending interface {
	Commit() error    // replaces a file of the name
	CommitNew() error // leaves such a file as it is
	Abort() error
}

// done finishes the output. With err nil the file gets its name; otherwise,
// or if that fails, the temporary file is removed.
func (o *output) done(err error) error {
	var p pending = o.file
	switch {
	case o.std != nil:
		return err
	case o.place != nil:
		return errors.Join(err, o.place.Close())
	case o.raw != nil:
		p = o.raw
	}
	if err != nil {
		return errors.Join(err, p.Abort())
	}
	if o.force {
		return p.Commit()
	}
	if err = p.CommitNew(); errors.Is(err, fs.ErrExist) {
		return advisef(existsAdvice, "%s was created by someone else meanwhile", o.target)
	}
	return err
}

// isTerminal reports whether stream, an end of a process, is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
