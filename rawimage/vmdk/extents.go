package vmdk

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// zeros is an extent without a file.
type zeros struct{}

func (zeros) readAt(p []byte, _ int64) error { clear(p); return nil }

func (zeros) nextData(int64) (start, end int64, err error) { return 0, 0, io.EOF }

// flat is an extent whose bytes are as they are in the file, from base on.
type flat struct {
	ra   io.ReaderAt
	base int64
}

func (f flat) readAt(p []byte, off int64) error {
	return readFull(f.ra, p, f.base+off, "flat extent")
}

func (f flat) nextData(off int64) (start, end int64, err error) {
	under, ok := f.ra.(imagefmt.Finder)
	if !ok {
		return off, math.MaxInt64, nil
	}
	start, end, err = under.NextData(f.base + off)
	return start - f.base, end - f.base, err
}

// file is one the descriptor names; several extents may be in one.
type file = imagefmt.File

// openDescriptor opens the extents that a descriptor lists.
func (r *Reader) openDescriptor(ra io.ReaderAt, size int64, o *options, sh *shared) error {
	if size > maxDescriptor {
		return unsupported(0, "descriptor", "%d bytes, more than %d", size, maxDescriptor)
	}
	text := make([]byte, size)
	if err := readFull(ra, text, 0, "descriptor"); err != nil {
		return err
	}
	d, err := parseDescriptor(text)
	if err != nil {
		return err
	}
	if err := d.check(0); err != nil {
		return err
	}
	if len(d.extents) == 0 {
		return malformed(0, "descriptor", "lists no extent")
	}
	r.info.CreateType, r.info.Adapter = d.values["createtype"], d.values["ddb.adaptertype"]
	var root *os.Root
	if o.dir != "" {
		if root, err = os.OpenRoot(o.dir); err != nil {
			return fmt.Errorf("vmdk: open the directory of the extents: %w", err)
		}
		defer func() { _ = root.Close() }()
	}
	files := make(map[string]*file)
	for _, line := range d.extents {
		if err := r.openLine(root, files, line, sh); err != nil {
			return err
		}
	}
	return nil
}

// openLine opens the extent of one line.
func (r *Reader) openLine(root *os.Root, files map[string]*file, line extentLine, sh *shared) error {
	info := ExtentInfo{Name: line.name, Kind: line.kind, Size: line.sectors * sectorSize}
	if line.access == "NOACCESS" {
		return unsupported(line.at, "extent access", "none to %q", line.name)
	}
	switch line.kind {
	case "ZERO":
		return r.add(zeros{}, info)
	case "FLAT", "VMFS", "SPARSE":
	default:
		return unsupported(line.at, "extent type", "%s", line.kind)
	}
	f, err := r.openFile(root, files, line)
	if err != nil {
		return err
	}
	if line.kind != "SPARSE" {
		base := line.start * sectorSize
		if base > f.Size || info.Size > f.Size-base {
			return malformed(line.at, "flat extent", "%d bytes at %d are outside of %q with %d", info.Size, base, line.name, f.Size)
		}
		return r.add(flat{f, base}, info)
	}
	s, err := openSparse(f.File, f.Size, sh)
	if err != nil {
		return fmt.Errorf("%w (in %q)", err, line.name)
	}
	if s.size != info.Size {
		return malformed(line.at, "extent size", "%d bytes, but %q says %d", info.Size, line.name, s.size)
	}
	return r.add(s, info)
}

// openFile opens a file of the directory, once however often it is named.
func (r *Reader) openFile(root *os.Root, files map[string]*file, line extentLine) (*file, error) {
	if f := files[line.name]; f != nil {
		return f, nil
	}
	fault := func(err error) error {
		return &FormatError{Offset: line.at, Field: "extent file", Err: err}
	}
	if root == nil {
		return nil, fault(fmt.Errorf("%w: %q, and no directory was given", ErrExternal, line.name))
	}
	if !filepath.IsLocal(line.name) {
		return nil, fault(fmt.Errorf("%w: %q leads out of the directory", ErrFormat, line.name))
	}
	// Asked before opening: a pipe would make the opening wait for a writer. A
	// link out of the directory is an error of Root here.
	st, err := root.Stat(line.name)
	if err != nil {
		return nil, fault(err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault(fmt.Errorf("%w: %q is no regular file", ErrUnsupported, line.name))
	}
	f, err := root.Open(line.name)
	if err != nil {
		return nil, fault(err)
	}
	r.files = append(r.files, f)
	if st, err = f.Stat(); err != nil {
		return nil, fault(err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault(errors.New("changed while it was opened"))
	}
	files[line.name] = &file{File: f, Size: st.Size()}
	return files[line.name], nil
}
