package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/term"

	"github.com/fastimage/fastimage/rawimage"
)

// output is a file that appears under its name whole or not at all: it is
// written under a temporary name in the same directory, synced, and renamed. A
// RAW disk in a regular file goes to raw instead of File.
type output struct {
	*os.File
	raw    *rawimage.Writer
	target string
	temp   string // empty when written in place: standard output, a device
	force  bool
	std    bool

	written, begun int64 // bytes; of these, on their way to the disk
}

// writebackEvery is how much is written before the system is asked to begin
// with it: a file of 300 MB is flushed a second faster for it.
const writebackEvery = 8 << 20

// Write writes to File in sequence.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	o.written += int64(n)
	if o.temp != "" && o.written-o.begun >= writebackEvery {
		startWriteback(o.File, o.begun, o.written-o.begun)
		o.begun = o.written
	}
	return n, err
}

// create opens the output for name. "-" is standard output. An existing file
// is an error unless force is set, and the source itself always is. For a RAW
// disk rawSize is its size, else 0.
func (a *app) create(name, source string, force bool, rawSize int64) (*output, error) {
	if name == "-" {
		f, ok := a.stdout.(*os.File)
		if !ok {
			return nil, errors.New("standard output is not a file")
		}
		if term.IsTerminal(int(f.Fd())) {
			return nil, hintf("standard output is a terminal; send it to a file or a pipe")
		}
		return &output{File: f, target: name, std: true}, nil
	}
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, hintf("%s is a directory; name the file to write", name)
	case sameFile(st, source):
		return nil, hintf("%s is the source; choose another name for the output", name)
	case !force:
		return nil, hintf("%s exists; remove it, choose another name, or overwrite it with -f", name)
	case !st.Mode().IsRegular():
		// A device or a pipe cannot be replaced by a rename.
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &output{File: f, target: name}, nil
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
	temp := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+"."+rand.Text()[:8]+".tmp")
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	return &output{File: f, target: target, temp: temp, force: force}, nil
}

func sameFile(st fs.FileInfo, source string) bool {
	src, err := os.Stat(source)
	return err == nil && os.SameFile(st, src)
}

// disk is where a disk is written to in no order.
func (o *output) disk() io.WriterAt {
	if o.raw != nil {
		return o.raw
	}
	return o.File
}

// doneRaw is done for a RAW disk in a file.
func (o *output) doneRaw(err error) error {
	switch {
	case err != nil:
		return errors.Join(err, o.raw.Abort())
	case o.force:
		return o.raw.Commit()
	}
	if err = o.raw.CommitNew(); errors.Is(err, fs.ErrExist) {
		return o.appeared()
	}
	return err
}

func (o *output) appeared() error {
	return hintf("%s appeared meanwhile; remove it, choose another name, or overwrite it with -f", o.target)
}

// done finishes the output. With err nil the file gets its name; otherwise,
// or if that fails, the temporary file is removed.
func (o *output) done(err error) error {
	if o.std {
		return err
	}
	if o.raw != nil {
		return o.doneRaw(err)
	}
	if o.temp == "" {
		return errors.Join(err, o.Close())
	}
	if err == nil {
		err = o.Sync()
	}
	if cerr := o.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = o.publish()
	}
	if err != nil {
		// The reason for failing matters more than a leftover that cannot
		// be removed, but the user has to know of it.
		if rerr := os.Remove(o.temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return fmt.Errorf("%w (and %s could not be removed: %v)", err, o.temp, rerr)
		}
	}
	return err
}

func (o *output) publish() error {
	if !o.force {
		// A hard link fails when the name has been taken meanwhile; a
		// rename would replace that file.
		switch err := os.Link(o.temp, o.target); {
		case err == nil:
			if err := os.Remove(o.temp); err != nil {
				return err
			}
			return syncDir(filepath.Dir(o.target))
		case errors.Is(err, fs.ErrExist):
			return o.appeared()
		}
		// No hard links here (FAT, some network file systems).
		if _, err := os.Lstat(o.target); err == nil {
			return o.appeared()
		}
	}
	if err := os.Rename(o.temp, o.target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(o.target))
}

// syncDir makes the new name durable where directories can be synced.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // writable but not readable: the rename stands
	}
	defer d.Close()
	// Some file systems refuse to sync a directory; the file itself is safe.
	_ = d.Sync()
	return nil
}
