package qcow2

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/magic"
	"github.com/fastimage/fastimage/internal/sparse"
)

// maxChain bounds a chain of backing files.
const maxChain = 64

// files opens the other files of an image.
type files struct {
	fsys  fs.FS    // nil: none may be opened
	root  *os.Root // closed with the files opened
	abs   string   // of the directory, "" for a file system
	dir   string   // in fsys, of the image whose references are next
	chain []string // in fsys, of the backing files that lead here
}

func newFiles(o *options) (*files, error) {
	f := &files{fsys: o.fsys, dir: "."}
	if o.dir == "" {
		return f, nil
	}
	abs, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, fmt.Errorf("qcow2: WithDir: %w", err)
	}
	if f.root, err = os.OpenRoot(abs); err != nil {
		return nil, fmt.Errorf("qcow2: WithDir: %w", err)
	}
	f.abs, f.fsys = abs, f.root.FS()
	return f, nil
}

func (f *files) close() {
	if f.root != nil {
		_ = f.root.Close() // files opened in it stay open
	}
}

// resolve turns a name of an image into one of the file system.
func (f *files) resolve(name string) (string, error) {
	name = strings.TrimPrefix(name, "file:")
	if name == "" {
		return "", fs.ErrNotExist
	}
	if filepath.IsAbs(name) || strings.HasPrefix(name, "/") {
		if f.abs == "" {
			return "", ErrOutside
		}
		rel, err := filepath.Rel(f.abs, filepath.Clean(name))
		if err != nil || !filepath.IsLocal(rel) {
			return "", ErrOutside
		}
		return filepath.ToSlash(rel), nil
	}
	if i := strings.IndexAny(name, ":/"); i >= 0 && name[i] == ':' {
		return "", fmt.Errorf("%w (%.100q)", ErrRemote, name[:i+1])
	}
	if runtime.GOOS == "windows" {
		name = filepath.ToSlash(name)
	}
	name = path.Join(f.dir, name)
	if !fs.ValidPath(name) {
		return "", ErrOutside
	}
	return name, nil
}

// file is an open file with its size.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
}

// open opens a regular file. Others are not even opened: opening a pipe or a
// device can have effects, or not return.
func (f *files) open(name string) (*file, error) {
	if fi, err := fs.Stat(f.fsys, name); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, errNotRegular
	}
	fd, err := f.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	fi, err := fd.Stat()
	if err != nil {
		return nil, errors.Join(err, fd.Close())
	}
	ra, ok := fd.(io.ReaderAt)
	if !ok || !fi.Mode().IsRegular() {
		return nil, errors.Join(errNotRegular, fd.Close())
	}
	if f, ok := fd.(*os.File); ok {
		ra = sparse.NewFile(f, fi.Size())
	}
	return &file{ra, fd, fi.Size()}, nil
}

var errNotRegular = errors.New("not a regular file that can be read at an offset")

// openOthers opens the external data file and the backing file.
func (r *Reader) openOthers(o *options, f *files) error {
	if r.incompatible&featDataFile != 0 {
		if err := r.openData(f); err != nil {
			return reference(offIncompatible, imageerr.RoleData, r.dataFile, err)
		}
	}
	if r.backingFile != "" {
		if err := r.openBacking(o, f); err != nil {
			return reference(offBackingOffset, imageerr.RoleBacking, r.backingFile, err)
		}
	}
	return nil
}

// reference is the error of a file that the image names at offset off. What is
// wrong with the file itself decides about the kind.
func reference(off int64, role, name string, err error) error {
	kind := ErrMissingFile
	if inner, ok := errors.AsType[*FormatError](err); ok {
		kind = inner.Kind
	} else if errors.Is(err, ErrRemote) || errors.Is(err, errNotRegular) || errors.Is(err, errFormat) {
		kind = ErrUnsupported
	} else if errors.Is(err, ErrLoop) {
		kind = ErrDamaged
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && error(pe) == err {
		err = pe.Err
	}
	return format.New(kind, off, role, "%w", &ReferenceError{Role: role, Name: name, Err: err})
}

// errFormat: a backing file is of a format that is not read here.
var errFormat = errors.New("format of the backing file")

func (r *Reader) openData(f *files) error {
	if f.fsys == nil {
		return ErrNotAllowed
	}
	name, err := f.resolve(r.dataFile)
	if err != nil {
		return err
	}
	fd, err := f.open(name)
	if err != nil {
		return err
	}
	r.data, r.dataSize = fd, fd.size
	r.closers = append(r.closers, fd)
	return nil
}

func (r *Reader) openBacking(o *options, f *files) error {
	if f.fsys == nil {
		return ErrNotAllowed
	}
	name, err := f.resolve(r.backingFile)
	if err != nil {
		return err
	}
	if slices.Contains(f.chain, name) || len(f.chain) >= maxChain {
		return ErrLoop
	}
	fd, err := f.open(name)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, fd)
	kind := r.backingFormat
	if kind == "" {
		if kind, err = magic.DetectAt(fd, fd.size); err != nil {
			return err
		}
	}
	switch kind {
	case magic.Raw, magic.Text: // a small RAW disk may be text
		r.backing = rawFile{fd.ReaderAt, fd.size}
	case "qcow2":
		// Names in a backing file are relative to where it is.
		next := *f
		next.dir, next.chain = path.Dir(name), append(slices.Clone(f.chain), name)
		b, err := newReader(fd, fd.size, o, &next)
		if err != nil {
			return err
		}
		r.backing, r.closers = b, append(r.closers, b)
	default:
		return fmt.Errorf("%w: %q", errFormat, kind)
	}
	return nil
}

// rawFile is a backing file without a format of its own. Where its holes are is
// the file system's knowledge; where that cannot be had it is all data.
type rawFile struct {
	io.ReaderAt
	size int64
}

func (f rawFile) Size() int64 { return f.size }

func (f rawFile) NextData(off int64) (start, end int64, err error) {
	return sparse.NextData(sparse.Of(f.ReaderAt), off, f.size)
}
