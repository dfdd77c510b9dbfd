package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// writebackEvery is how much Write takes before the system is asked to start
// writing it: that makes the flush of a file of 300 MB a second faster.
const writebackEvery = 8 << 20

// smallWrite is what is left to the flush: an entry of a table, whose page more
// entries follow into.
const smallWrite = 64 << 10

// File is a file that has no name yet. It ends with one call of Commit, CommitNew
// or Abort. Before that WriteAt may be called concurrently.
type File struct {
	file *os.File
	name string

	written, begun int64 // by Write, in bytes; of these, on their way to the disk
}

// Create begins a file that Commit will put under name, and removes what
// processes that died while they wrote name left of it. The mode is perm less the
// process's umask, or that of a file that is replaced. A symbolic link stays: the
// file that it leads to is replaced. An empty name, a link that leads nowhere, and
// anything that is not a regular file are refused.
func Create(name string, perm fs.FileMode) (*File, error) {
	target, old, err := resolve(name)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: cause(err)}
	}
	_ = Sweep(target) // what is left takes space, and harms nothing
	f, err := createTemp(target, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: cause(err)} // not a name that nobody gave
	}
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}
	return &File{name: target, file: f}, nil
}

var errNotRegular = errors.New("not a regular file")

// resolve returns the file that name is or leads to, and what is there now; nil
// for nothing.
func resolve(name string) (target string, old fs.FileInfo, err error) {
	if name == "" {
		return "", nil, fmt.Errorf("empty file name: %w", fs.ErrInvalid)
	}
	fi, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return name, nil, nil
	}
	if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		if name, err = filepath.EvalSymlinks(name); err == nil {
			fi, err = os.Lstat(name)
		}
	}
	switch {
	case err != nil:
		return "", nil, err
	case fi.IsDir():
		return "", nil, syscall.EISDIR
	case !fi.Mode().IsRegular():
		return "", nil, errNotRegular
	}
	return name, fi, nil
}

// createTemp makes a temporary file and locks it. One that a Sweep of another
// process has removed before that is made again.
func createTemp(target string, perm fs.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(filepath.Join(filepath.Dir(target), temporary(target, rand.Text()[:8])), os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if err != nil {
			return nil, err
		}
		lock(f) // where there are no locks, files are swept as if nobody wrote them
		if _, err := os.Lstat(f.Name()); err == nil {
			return f, nil
		}
		_ = f.Close()
	}
}

// cause takes the path off an error that is going to get another.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// temporary is what a file that will be name is called before.
func temporary(name, random string) string {
	return "." + filepath.Base(name) + "." + random + ".tmp"
}

// Sweep removes what processes that died while they wrote name left of it. What
// another process is writing stays.
func Sweep(name string) error {
	dir := filepath.Dir(name)
	entries, err := os.ReadDir(dir)
	// Not filepath.Glob, to which some characters of a name are a pattern.
	const random = "????????"
	head, tail, _ := strings.Cut(temporary(name, random), random)
	for _, e := range entries {
		n := e.Name()
		if len(n) == len(head+random+tail) && strings.HasPrefix(n, head) && strings.HasSuffix(n, tail) && e.Type().IsRegular() {
			err = errors.Join(err, removeDead(filepath.Join(dir, n)))
		}
	}
	return err
}

// removeDead removes a temporary file that no process has locked.
func removeDead(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	locked := lock(f)
	if locked {
		err = os.Remove(name)
	}
	if runtime.GOOS == "windows" { // where an open file cannot be removed, not even this one
		return errors.Join(f.Close(), os.Remove(name))
	}
	return errors.Join(err, f.Close())
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error { return f.file.Truncate(size) }

// Write writes in sequence, from the start of the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.written += int64(n)
	if f.written-f.begun >= writebackEvery {
		startWriteback(f.file, f.begun, f.written-f.begun)
		f.begun = f.written
	}
	return n, err
}

// WriteAt writes p at off.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	if n >= smallWrite {
		startWriteback(f.file, off, int64(n))
	}
	return n, err
}

// Commit gives the file its name and replaces one that has it. After an error
// of anything before that the temporary file is gone.
func (f *File) Commit() error { return f.commit(os.Rename) }

// CommitNew is Commit for a name that must not be taken: a file of that name
// stays as it is, and the error matches fs.ErrExist.
func (f *File) CommitNew() error { return f.commit(renameNew) }

func (f *File) commit(rename func(from, to string) error) error {
	if err := f.file.Sync(); err != nil {
		return errors.Join(err, f.Abort())
	}
	temp := f.file.Name()
	if err := f.file.Close(); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := rename(temp, f.name); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(f.name))
}

// Abort removes what was written.
func (f *File) Abort() error {
	return errors.Join(f.file.Close(), os.Remove(f.file.Name()))
}

// renameNew renames without replacing: a hard link fails when the name is taken.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// No hard links here (FAT, some network file systems).
	if _, err := os.Lstat(to); err == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

// syncDir makes the new name durable where directories can be synced: Windows
// and some file systems have no such thing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // writable but not readable: the rename stands
	}
	if err != nil {
		return err
	}
	defer d.Close() // read only
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
