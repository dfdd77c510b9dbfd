package vmdk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/fastimage/fastimage/internal/fileid"
	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/sparse"
)

// zeros is an extent without a file.
type zeros struct{}

func (zeros) readAt(p []byte, _ int64) error { clear(p); return nil }

func (zeros) nextData(int64) (start, end int64, err error) { return 0, 0, io.EOF }

// flat is an extent whose bytes are as they are in the file, from base on.
type flat struct {
	ra   *sparse.File
	base int64
}

func (f flat) readAt(p []byte, off int64) error {
	return readFull(f.ra, p, f.base+off, "flat extent")
}

func (f flat) nextData(off int64) (start, end int64, err error) {
	start, end, err = f.ra.NextData(f.base + off)
	return start - f.base, end - f.base, err
}

// extentFiles are the files that a descriptor names, opened once each.
type extentFiles struct {
	root  *os.Root // nil: none may be opened
	files map[string]*extentFile
	ids   map[[2]uint64]int // device and inode: number of the file
	used  []span
}

// extentFile is an open file; several extents may be in one.
type extentFile struct {
	*sparse.File
	number int // in order of opening; the same for two names of one file
}

// span is what an extent takes of a file.
type span struct {
	file       int // number of the file
	start, end int64
	line       extentLine
}

// openDescriptor opens the extents that a descriptor lists.
func (r *Reader) openDescriptor(ra io.ReaderAt, size int64, o *options, sh *shared) error {
	d, err := readDescriptor(ra, size)
	if err != nil {
		return err
	}
	if err := d.check(0); err != nil {
		return err
	}
	if len(d.extents) == 0 {
		return format.Damaged(0, "descriptor", "lists no extent")
	}
	r.info.CreateType, r.info.Adapter = d.values["createtype"], d.values["ddb.adaptertype"]
	files := &extentFiles{files: make(map[string]*extentFile), ids: make(map[[2]uint64]int)}
	if o.dir != "" {
		if files.root, err = os.OpenRoot(o.dir); err != nil {
			return fmt.Errorf("vmdk: open the directory of the extents: %w", err)
		}
		defer func() { _ = files.root.Close() }()
	}
	for _, line := range d.extents {
		if err := r.openLine(files, line, sh); err != nil {
			return err
		}
	}
	return files.checkShared()
}

func readDescriptor(ra io.ReaderAt, size int64) (*descriptor, error) {
	if size > maxDescriptor {
		return nil, format.Unsupported(0, "descriptor", "%d bytes, more than %d", size, maxDescriptor)
	}
	text := make([]byte, size)
	if err := readFull(ra, text, 0, "descriptor"); err != nil {
		return nil, err
	}
	return parseDescriptor(text)
}

// openLine opens the extent of one line.
func (r *Reader) openLine(files *extentFiles, line extentLine, sh *shared) error {
	info := ExtentInfo{Name: line.name, Kind: line.kind, Size: line.sectors * sectorSize}
	if line.access == "NOACCESS" {
		return format.Unsupported(line.at, "extent access", "none to %q", line.name)
	}
	switch line.kind {
	case "ZERO":
		return r.add(zeros{}, info)
	case "FLAT", "VMFS", "SPARSE", "VMFSSPARSE":
	case "VMFSRDM", "VMFSRAW":
		return format.Unsupported(line.at, "extent type", "%s, %w", line.kind, imageerr.ErrDevice)
	default:
		return format.Unsupported(line.at, "extent type", "%s", line.kind)
	}
	f, err := r.openFile(files, line)
	if err != nil {
		return err
	}
	if line.kind == "FLAT" || line.kind == "VMFS" {
		base := line.start * sectorSize
		if base > f.Size() || info.Size > f.Size()-base {
			return format.Truncated(line.at, "flat extent", "%d bytes at %d are outside of %q with %d", info.Size, base, line.name, f.Size())
		}
		files.used = append(files.used, span{f.number, base, base + info.Size, line})
		return r.add(flat{f.File, base}, info)
	}
	files.used = append(files.used, span{f.number, 0, f.Size(), line})
	s, err := openSparse(f, f.Size(), sh)
	if err != nil {
		return fmt.Errorf("%w (in %q)", err, line.name)
	}
	if s.size != info.Size {
		return format.Damaged(line.at, "extent size", "%d bytes, but %q says %d", info.Size, line.name, s.size)
	}
	return r.add(s, info)
}

// openFile opens a file of the directory, once however often it is named.
func (r *Reader) openFile(files *extentFiles, line extentLine) (*extentFile, error) {
	if f := files.files[line.name]; f != nil {
		return f, nil
	}
	fault := func(kind, err error) error {
		return format.New(kind, line.at, "extent file", "%w", &ReferenceError{Role: imageerr.RoleExtent, Name: line.name, Err: err})
	}
	if files.root == nil {
		return nil, fault(ErrMissingFile, imageerr.ErrNotAllowed)
	}
	if !filepath.IsLocal(line.name) {
		return nil, fault(ErrMissingFile, imageerr.ErrOutside)
	}
	// Before opening, which would wait for the writer of a pipe. A link out of
	// the directory is an error of Root here.
	st, err := files.root.Stat(line.name)
	if err != nil {
		return nil, fault(ErrMissingFile, cause(err))
	}
	if !st.Mode().IsRegular() {
		return nil, fault(ErrUnsupported, errNotRegular)
	}
	f, err := files.root.Open(line.name)
	if err != nil {
		return nil, fault(ErrMissingFile, cause(err))
	}
	r.files = append(r.files, f)
	if st, err = f.Stat(); err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fault(ErrUnsupported, errNotRegular)
	}
	opened := &extentFile{sparse.NewFile(f, st.Size()), len(files.files)}
	if id := fileid.Of(st); id.Inode != 0 {
		key := [2]uint64{id.Device, id.Inode}
		if n, ok := files.ids[key]; ok {
			opened.number = n
		}
		files.ids[key] = opened.number
	}
	files.files[line.name] = opened
	return opened, nil
}

var errNotRegular = errors.New("not a regular file")

// cause takes the path off an error that is going to get it again.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// checkShared refuses extents that share bytes of a file: no writer makes them,
// and they would let a small file stand for any amount of data.
func (files *extentFiles) checkShared() error {
	slices.SortStableFunc(files.used, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.start, b.start))
	})
	for i := 1; i < len(files.used); i++ {
		if a, b := files.used[i-1], files.used[i]; a.file == b.file && b.start < a.end {
			return format.Damaged(b.line.at, "extent", "shares bytes of %q with another extent", b.line.name)
		}
	}
	return nil
}

// cowdEntries is how many grains a table of a COWD extent has.
const cowdEntries = 4096

// maxSize bounds the disk that the extents make up together.
const maxSize = math.MaxInt64 / sectorSize * sectorSize
