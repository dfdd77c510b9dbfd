package ova

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

// FormatError reports what is wrong with an archive, and where. It is one type
// in all packages that read images.
type FormatError = imageerr.Error

const format = imageerr.Format("ova")

// maxMembers bounds the search of an archive: an OVA has a handful.
const maxMembers = 4096

// Member is a regular file in the archive.
type Member struct {
	Name    string // as in the archive
	Offset  int64  // of its first byte in the archive
	Size    int64  // bytes
	Sparse  bool   // stored without its holes, which Offset and Size do not describe
	Chunked bool   // one of several chunks that make up a disk
}

// Archive is an open archive. All methods are safe for concurrent use.
type Archive struct {
	ra       io.ReaderAt
	members  []Member
	manifest []entry
}

// New reads the headers of the archive in the first size bytes of ra, and its
// manifest.
func New(ra io.ReaderAt, size int64) (*Archive, error) {
	if err := imagefmt.CheckSource("ova", ra, size); err != nil {
		return nil, err
	}
	a := &Archive{ra: ra}
	if err := a.list(size); err != nil {
		return nil, err
	}
	return a, a.readManifest()
}

// Members returns the regular files of the archive, without those that macOS
// adds.
func (a *Archive) Members() []Member { return slices.Clone(a.members) }

// Section returns the bytes of a member.
func (a *Archive) Section(m Member) *io.SectionReader {
	return io.NewSectionReader(a.ra, m.Offset, m.Size)
}

func (a *Archive) list(size int64) error {
	sr := &faultReader{SectionReader: io.NewSectionReader(a.ra, 0, size)}
	tr := tar.NewReader(sr)
	for range maxMembers {
		h, err := tr.Next()
		// The archive reader takes no byte more than the header's blocks.
		at, _ := sr.Seek(0, io.SeekCurrent)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if sr.err != nil {
			return fmt.Errorf("ova: read at offset %d: %w", at, sr.err)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return format.Truncated(at, "member", "%w", err)
		}
		if err != nil {
			return format.Damaged(at, "member", "%w", err)
		}
		if !Regular(h) {
			continue
		}
		m := Member{Name: h.Name, Offset: at, Size: h.Size, Sparse: Sparse(h), Chunked: chunkRE.MatchString(h.Name)}
		if m.Size < 0 || !m.Sparse && m.Size > size-at {
			return format.Truncated(at, "member size", "%d bytes of %q are outside of the archive", h.Size, h.Name)
		}
		a.members = append(a.members, m)
	}
	return format.Unsupported(imageerr.None, "archive", "more than %d members", maxMembers)
}

// Regular reports whether h is a regular file that is not an addition of macOS.
func Regular(h *tar.Header) bool {
	return (h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse) && !strings.HasPrefix(path.Base(h.Name), "._") &&
		!strings.HasPrefix(h.Name, "__MACOSX/")
}

// Sparse reports whether h is stored without its holes.
func Sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
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

var (
	diskRE  = regexp.MustCompile(`(?i)\.(vmdk|raw|img|qcow2|vhd|vhdx|vdi)(\.(gz|xz|bz2|zst|lz4))?$`)
	chunkRE = regexp.MustCompile(`\.\d{9}$`)
)

// IsDisk reports whether a member of that name holds a disk, or a chunk of one.
func IsDisk(name string) bool { return diskRE.MatchString(chunkRE.ReplaceAllString(name, "")) }

// Disks returns the members that hold a disk by their names.
func (a *Archive) Disks() []Member { return disks(a.members) }

func disks(members []Member) (list []Member) {
	for _, m := range members {
		if IsDisk(m.Name) {
			list = append(list, m)
		}
	}
	return list
}

// ChoiceError reports that it is not clear which member of an archive to read.
// It matches no kind: nothing is wrong with the archive.
type ChoiceError struct {
	Want    string   // the name asked for, "" for none
	Members []Member // to choose from: the disks, or all if none looks like one
}

// Error implements error. Names are quoted, which escapes control characters.
func (e *ChoiceError) Error() string {
	var names []string
	for _, m := range e.Members[:min(len(e.Members), 20)] {
		names = append(names, fmt.Sprintf("%.200q", m.Name))
	}
	list := strings.Join(names, ", ")
	if n := len(e.Members) - len(names); n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	switch {
	case e.Want != "":
		return fmt.Sprintf("ova: no single member %q among %s", e.Want, list)
	case len(e.Members) == 0:
		return "ova: the archive is empty"
	case len(disks(e.Members)) == 0:
		return "ova: no member has the name of a disk (.vmdk, .raw, .img, .qcow2, .vhd, .vhdx, .vdi) among " + list
	}
	return "ova: the disk has to be chosen among " + list
}

// Disk returns the member name, or the only disk if name is "". What cannot be
// read in place is refused as ErrUnsupported, an archive without one answer with a
// *[ChoiceError].
func (a *Archive) Disk(name string) (Member, error) {
	m, err := Choose(a.members, name)
	if err != nil {
		return m, err
	}
	switch {
	case m.Sparse:
		return m, format.Unsupported(m.Offset, "member", "%q is stored as a sparse file", m.Name)
	case m.Chunked:
		return m, format.Unsupported(m.Offset, "member", "%q is one chunk of a disk", m.Name)
	}
	return m, nil
}

// Choose returns the member called name, or the only disk among members if name
// is "".
func Choose(members []Member, name string) (Member, error) {
	all := disks(members)
	found := all
	if name != "" {
		found = nil
		for _, m := range members {
			if m.Name == name || strings.TrimPrefix(m.Name, "./") == name {
				found = append(found, m)
			}
		}
	}
	if len(found) > 1 && name == "" && found[0].Chunked && sameDisk(found) {
		return found[0], nil // refused as what it is
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(all) == 0 {
		all = members
	}
	return Member{}, &ChoiceError{Want: name, Members: slices.Clone(all)}
}

// sameDisk reports whether all members are chunks of one disk.
func sameDisk(list []Member) bool {
	stem := func(m Member) string { return chunkRE.ReplaceAllString(m.Name, "") }
	return !slices.ContainsFunc(list, func(m Member) bool { return !m.Chunked || stem(m) != stem(list[0]) })
}
