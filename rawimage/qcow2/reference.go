package qcow2

import (
	"bytes"
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

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// maxChain bounds the backing files one behind the other.
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
		return "", fmt.Errorf("%w: protocol %q", ErrUnsupported, clean(name[:i]))
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
		return nil, fmt.Errorf("%w: not a regular file", ErrUnsupported)
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
		return nil, errors.Join(fmt.Errorf("%w: file cannot be read at an offset", ErrUnsupported), fd.Close())
	}
	if f, ok := fd.(*os.File); ok {
		ra = &imagefmt.File{File: f, Size: fi.Size()}
	}
	return &file{ra, fd, fi.Size()}, nil
}

// openOthers opens the external data file and the backing file.
func (r *Reader) openOthers(o *options, f *files) error {
	if r.incompatible&featDataFile != 0 {
		if err := r.openData(f); err != nil {
			return &ReferenceError{Kind: KindData, Name: clean(r.dataFile), Err: err}
		}
	}
	if r.backingFile != "" {
		if err := r.openBacking(o, f); err != nil {
			return &ReferenceError{Kind: KindBacking, Name: clean(r.backingFile), Err: err}
		}
	}
	return nil
}

func (r *Reader) openData(f *files) error {
	if f.fsys == nil {
		return ErrReference
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
		return ErrReference
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
	format := r.backingFormat
	if format == "" {
		if format, err = probe(fd, fd.size); err != nil {
			return err
		}
	}
	switch format {
	case "raw":
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
		return fmt.Errorf("%w: format %q", ErrUnsupported, clean(format))
	}
	return nil
}

// foreign are the formats QEMU would find by looking, which must not be taken
// for RAW.
var foreign = []struct {
	format string
	off    int
	magic  string
}{
	{"qcow", 0, "QFI\xfb\x00\x00\x00\x01"},
	{"qcow2", 0, "QFI\xfb"},
	{"qed", 0, "QED\x00"},
	{"vmdk", 0, "KDMV"},
	{"vmdk", 0, "COWD"},
	{"vmdk", 0, "# Disk DescriptorFile"},
	{"vpc", 0, "conectix"},
	{"vhdx", 0, "vhdxfile"},
	{"vdi", 64, "\x7f\x10\xda\xbe"},
	{"parallels", 0, "WithoutFreeSpace"},
	{"parallels", 0, "WithouFreSpacExt"},
	{"luks", 0, "LUKS\xba\xbe"},
}

// probe finds the format of a backing file that the image does not name.
func probe(ra io.ReaderAt, size int64) (string, error) {
	head := make([]byte, min(size, sectorSize))
	if err := readFull(ra, head, 0); err != nil {
		return "", err
	}
	for _, f := range foreign {
		if len(head) >= f.off && bytes.HasPrefix(head[f.off:], []byte(f.magic)) {
			return f.format, nil
		}
	}
	return "raw", nil
}

// rawFile is a backing file without a format of its own. Where its holes are is
// the file system's knowledge; where that cannot be had it is all data.
type rawFile struct {
	io.ReaderAt
	size int64
}

func (f rawFile) Size() int64 { return f.size }

func (f rawFile) NextData(off int64) (start, end int64, err error) {
	if off >= f.size {
		return 0, 0, io.EOF
	}
	if finder, ok := f.ReaderAt.(imagefmt.Finder); ok {
		return finder.NextData(off)
	}
	return off, f.size, nil
}
