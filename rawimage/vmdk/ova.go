package vmdk

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxMembers bounds the search of an archive: an OVA has a handful.
const maxMembers = 4096

// Member is a file in an OVA.
type Member struct {
	Name   string // as in the archive
	Offset int64  // of its first byte in the archive
	Size   int64  // bytes
}

// NewOVAReader opens the VMDK in the OVA (a tar archive) in the first size bytes of
// ra and reads it in place. An archive with several needs WithMember.
func NewOVAReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.dir != "" {
		return nil, errors.New("vmdk: WithDir with an OVA, whose disks have no files beside it")
	}
	all, err := Members(ra, size)
	if err != nil {
		return nil, err
	}
	m, err := pick(all, o.member)
	if err != nil {
		return nil, err
	}
	r, err := newReader(io.NewSectionReader(ra, m.Offset, m.Size), m.Size, o)
	if err != nil {
		return nil, fmt.Errorf("%w (in %q at offset %d of the archive)", err, m.Name, m.Offset)
	}
	r.info.Member = m.Name
	return r, nil
}

func pick(all []Member, name string) (Member, error) {
	var found []Member
	var names []string
	packed := "" // as the OVF standard allows
	for _, m := range all {
		if strings.HasSuffix(strings.ToLower(m.Name), ".vmdk.gz") {
			packed = m.Name
		}
		if name == m.Name || name == "" && strings.EqualFold(path.Ext(m.Name), ".vmdk") {
			found = append(found, m)
			names = append(names, m.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case name != "" && len(found) == 0:
		return Member{}, format.Damaged(-1, "archive", "no member %q", name)
	case len(found) == 0 && packed != "":
		return Member{}, format.Unsupported(-1, "archive", "the disk %q is compressed with gzip: unpack the archive, then the disk, and give that", packed)
	case len(found) == 0:
		return Member{}, format.Damaged(-1, "archive", "no member that ends in .vmdk")
	case name != "":
		return Member{}, format.Damaged(-1, "archive", "%d members %q", len(found), name)
	}
	return Member{}, format.Unsupported(-1, "archive", "%d disks (%.300q), name one", len(found), names)
}

// Members lists the regular files of the OVA in the first size bytes of ra. It
// reads their headers only.
func Members(ra io.ReaderAt, size int64) ([]Member, error) {
	if size < 0 {
		return nil, format.Damaged(0, "archive", "%d bytes", size)
	}
	sr := &faultReader{SectionReader: io.NewSectionReader(ra, 0, size)}
	tr := tar.NewReader(sr)
	var all []Member
	for range maxMembers {
		h, err := tr.Next()
		// The archive reader takes no byte more than the header's blocks.
		at, _ := sr.Seek(0, io.SeekCurrent)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if sr.err != nil {
			return nil, fmt.Errorf("vmdk: read archive at offset %d: %w", at, sr.err)
		}
		if err != nil {
			return nil, format.Damaged(at, "archive", "%v", err)
		}
		if h.Size < 0 || h.Size > size-at {
			return nil, format.Truncated(at, "member size", "%d bytes of %q are outside the archive", h.Size, h.Name)
		}
		if h.Typeflag != tar.TypeReg {
			if h.Typeflag == tar.TypeGNUSparse {
				return nil, format.Unsupported(at, "member", "%q is stored as a sparse file", h.Name)
			}
			continue
		}
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				return nil, format.Unsupported(at, "member", "%q is stored as a sparse file", h.Name)
			}
		}
		all = append(all, Member{h.Name, at, h.Size})
	}
	return nil, format.Unsupported(-1, "archive", "more than %d members", maxMembers)
}

// faultReader remembers an error of the source, which the archive reader does
// not tell from one of the format.
type faultReader struct {
	*io.SectionReader
	err error
}

func (f *faultReader) Read(p []byte) (int, error) {
	n, err := f.SectionReader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
