package anyimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/sparse"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/ova"
)

// OpenAny opens what Open and OpenStream open, and images of any format inside of
// compressed files: one of the results is not nil. A RAW disk in a compressed file
// is a Stream. What needs to be read at any place, such as a QCOW2 in a file
// compressed with xz, or a disk in a compressed tar archive, is decompressed into a
// temporary file, announced by [WithTempFile], which Close removes. WithFormat is
// about the image inside of a compressed file, except for raw, which takes the file
// itself for the disk.
func OpenAny(ctx context.Context, name string, opts ...Option) (*Disk, *Stream, error) {
	file, err := rawimage.Open(name, rawimage.WithAnyFormat())
	if err != nil {
		return nil, nil, err
	}
	opts = append([]Option{WithSiblings(filepath.Dir(name))}, opts...)
	d, s, err := OpenFileAny(ctx, file, opts...)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return d, s, nil
}

// OpenFileAny is [OpenAny] for a file that is open already, with
// [rawimage.WithAnyFormat]. Close of the result closes it; if OpenFileAny fails it
// stays open.
func OpenFileAny(ctx context.Context, file *rawimage.Image, opts ...Option) (*Disk, *Stream, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, nil, err
	}
	format, err := rawimage.Detect(file, file.Size())
	if err != nil {
		return nil, nil, err
	}
	if !compressed(format) || o.format == rawimage.FormatRaw {
		return o.openFile(ctx, file)
	}
	s, err := newStream(file, file.Name(), o)
	if err != nil {
		return nil, nil, err
	}
	if o.format == "" && !s.looksFixedVHD() {
		err = s.open(ctx)
		if inside, ok := errors.AsType[*UnsupportedError](err); err == nil {
			return nil, s, nil
		} else if !ok || !inside.readable() {
			return nil, nil, err
		}
	}
	s.at.close()
	d, err := s.unpack(ctx)
	return d, nil, err
}

// openFile opens a file that is not compressed, whose disk may be.
func (o *options) openFile(ctx context.Context, file *rawimage.Image) (*Disk, *Stream, error) {
	d, err := open(file, file.Name(), o)
	inside, ok := errors.AsType[*UnsupportedError](err)
	if err == nil || !ok || inside.Inside != rawimage.FormatOVA || !inside.readable() {
		return d, nil, err
	}
	a, err := ova.New(file, file.Size())
	if err != nil {
		return nil, nil, err
	}
	m, err := a.Disk(o.member)
	if err != nil {
		return nil, nil, err
	}
	part, err := rawimage.New(a.Section(m), m.Size, rawimage.WithAnyFormat(), rawimage.WithName(m.Name))
	if err != nil {
		return nil, nil, err
	}
	s, err := newStream(part, m.Name, o)
	if err != nil {
		return nil, nil, err
	}
	if d, err = s.unpack(ctx); err != nil {
		return nil, nil, err
	}
	// The file is the archive's; the temporary one is only where the disk is.
	d.under = append([]io.Closer{d.file}, d.under...)
	d.name, d.file, d.format, d.archive, d.member = file.Name(), file, rawimage.FormatOVA, a, m
	return d, nil, nil
}

// looksFixedVHD: a fixed VHD has its only mark at its end, which is the last thing
// that is seen of a stream. Its name tells it before.
func (s *Stream) looksFixedVHD() bool {
	name := strings.TrimSuffix(s.name, filepath.Ext(s.name))
	if s.zip != nil {
		name = s.zip.Name
	}
	return strings.EqualFold(filepath.Ext(name), ".vhd")
}

// unpacking is what is in a compressed file, on its way to a temporary one.
type unpacking struct {
	s      *Stream
	r      io.Reader
	run    *run
	size   int64  // of the content
	member string // of a tar archive
}

// unpack decompresses the image into a temporary file and opens it.
func (s *Stream) unpack(ctx context.Context) (*Disk, error) {
	format := s.o.format
	// What is inside is looked at here, and WithSize is about the disk in it.
	s.raw, s.size = true, 0
	if s.zip != nil {
		s.size = int64(s.zip.UncompressedSize64)
	}
	u, err := s.content(ctx, &format)
	if err != nil {
		return nil, err
	}
	defer u.run.close()
	f, err := u.create(format)
	if err != nil {
		return nil, err
	}
	d, err := u.openDisk(ctx, f, format)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// content finds what is inside, and its size. format is "" if it has to be
// detected.
func (s *Stream) content(ctx context.Context, format *rawimage.Format) (*unpacking, error) {
	r, err := s.start()
	if err != nil {
		return nil, err
	}
	head, err := r.peek()
	if err != nil {
		r.close()
		return nil, err
	}
	inside := rawimage.DetectFormat(head, nil)
	u := &unpacking{s: s, r: r, run: r}
	if inside == rawimage.FormatOVA && (*format == "" || *format == rawimage.FormatOVA) {
		*format = ""
		err = u.findMember(s.o.member)
	} else if u.size, err = s.total(ctx); err == nil && (inside == rawimage.FormatOVA || openers[inside] == nil) && *format == "" {
		err = &UnsupportedError{Name: s.name, Format: inside, Inside: s.format}
	}
	if err != nil {
		r.close()
		return nil, err
	}
	if *format == "" && u.member == "" && inside != rawimage.FormatRaw {
		*format = inside
	}
	return u, nil
}

// total is the size of the content, counted if nothing tells it.
func (s *Stream) total(ctx context.Context) (int64, error) {
	if s.size == 0 {
		if err := s.open(ctx); err != nil {
			return 0, err
		}
	}
	return s.size, nil
}

// findMember goes to the disk of a compressed tar archive.
func (u *unpacking) findMember(want string) error {
	tr := tar.NewReader(u.run)
	var members []ova.Member
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := ova.Choose(members, want)
			if err == nil {
				err = &ChoiceError{Want: want, Members: members}
			}
			return &OpenError{Name: u.s.name, Format: rawimage.FormatOVA, Err: err}
		}
		if err != nil {
			return u.archiveError(err)
		}
		if !ova.Regular(h) {
			continue
		}
		members = append(members, ova.Member{Name: h.Name, Size: h.Size, Sparse: ova.Sparse(h)})
		if want == h.Name || want == strings.TrimPrefix(h.Name, "./") || want == "" && ova.IsDisk(h.Name) {
			u.r, u.size, u.member = tr, h.Size, h.Name
			return nil
		}
		if len(members) > maxPassed {
			return &OpenError{Name: u.s.name, Format: rawimage.FormatOVA, Err: imageerr.Format("ova").Unsupported(imageerr.None, "archive", "more than %d members", maxPassed)}
		}
	}
}

// maxPassed bounds the members of a compressed archive that are passed over.
const maxPassed = 4096

// archiveError tells damage of the archive from that of the compression.
func (u *unpacking) archiveError(err error) error {
	if u.run.err != nil && u.run.err != io.EOF {
		return u.run.err
	}
	kind := imageerr.ErrDamaged
	if errors.Is(err, io.ErrUnexpectedEOF) {
		kind = imageerr.ErrTruncated
	}
	return &OpenError{Name: u.s.name, Format: rawimage.FormatOVA, Err: imageerr.Format("ova").New(kind, imageerr.None, "archive", "%w", err)}
}

// NoSpaceError reports that the directory for temporary files lacks the space
// that a compressed image needs.
type NoSpaceError struct {
	Dir        string
	Need, Free int64 // bytes
}

// Error implements error.
func (e *NoSpaceError) Error() string { return "anyimage: " + e.Text() }

// Text is the message without the name of the package.
func (e *NoSpaceError) Text() string {
	return fmt.Sprintf("a temporary file of %d bytes does not fit into %s, which has %d bytes free", e.Need, e.Dir, e.Free)
}

// create announces the temporary file and makes it.
func (u *unpacking) create(format rawimage.Format) (*tempFile, error) {
	o := u.s.o
	dir := o.tempDir
	if dir == "" {
		dir = os.TempDir()
	}
	if limit := u.s.limit(); u.size > limit {
		return nil, &SizeError{Name: u.s.name, Want: limit, Got: u.size, Limit: true}
	}
	if o.announce != nil {
		if err := o.announce(TempFile{Dir: dir, Bytes: u.size, Format: format, Inside: u.s.format}); err != nil {
			return nil, err
		}
	}
	if free, ok := freeSpace(dir); ok && free < u.size && u.member == "" { // members may be sparse
		return nil, &NoSpaceError{Dir: dir, Need: u.size, Free: free}
	}
	f, err := os.CreateTemp(dir, "fastimage-*.tmp")
	if err != nil {
		return nil, pkg.Errorf("temporary file: %w", err)
	}
	t := &tempFile{File: f}
	t.removed = os.Remove(f.Name()) == nil // not on Windows, where Close does it
	return t, nil
}

// tempFile is gone when it is closed, or with the process.
type tempFile struct {
	*os.File
	removed bool
}

// Close closes and removes the file.
func (t *tempFile) Close() error {
	err := t.File.Close()
	if !t.removed {
		err = errors.Join(err, os.Remove(t.Name()))
	}
	return err
}

// openDisk fills the temporary file and opens the image in it.
func (u *unpacking) openDisk(ctx context.Context, f *tempFile, format rawimage.Format) (*Disk, error) {
	n, err := u.copy(ctx, f)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, &rawimage.OpenError{Name: u.s.name, Err: rawimage.ErrEmpty}
	}
	temp, err := rawimage.New(sparse.NewFile(f.File, n), n, rawimage.WithAnyFormat(), rawimage.WithName(u.s.name))
	if err != nil {
		return nil, err
	}
	o := *u.s.o
	o.format, o.beside, o.member = format, "", ""
	d, err := open(temp, u.s.name, &o)
	if err != nil {
		return nil, err
	}
	d.under = append([]io.Closer{f}, d.under...)
	d.file = u.s.file
	d.fact("compression of the file", string(u.s.format))
	if u.member != "" {
		d.fact("member", u.member)
	}
	return d, nil
}

// copy decompresses into f and leaves out zeros. It goes through all of the
// compressed file, so that its checksums count.
func (u *unpacking) copy(ctx context.Context, f *tempFile) (n int64, err error) {
	w := &holes{f: f}
	if err := u.copyTo(ctx, w, u.r); err != nil {
		return 0, err
	}
	if err := f.Truncate(w.pos); err != nil {
		return 0, err
	}
	if u.member == "" {
		return w.pos, nil
	}
	if err := u.rest(); err != nil {
		return 0, err
	}
	return w.pos, u.copyTo(ctx, io.Discard, u.run)
}

func (u *unpacking) copyTo(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, countStep)
	for last := time.Now(); ; {
		n, err := fill(r, buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return pkg.Errorf("temporary file: %w", werr)
		}
		switch {
		case err == io.EOF:
			return nil
		case u.run.err != nil && u.run.err != io.EOF:
			return u.run.err
		case err != nil:
			return u.archiveError(err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if u.s.o.progress != nil && time.Since(last) > reportEvery {
			u.s.o.progress(Progress{Done: u.run.in.read.Load(), Total: u.s.file.Size()})
			last = time.Now()
		}
	}
}

// fill reads until p is full. Unlike io.ReadFull it keeps the reader's error.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// rest refuses an archive with another disk after the one that was taken.
func (u *unpacking) rest() error {
	if u.s.o.member != "" {
		return nil
	}
	tr := u.r.(*tar.Reader)
	members := []ova.Member{{Name: u.member, Size: u.size}}
	for range maxPassed {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return u.archiveError(err)
		}
		if ova.Regular(h) && ova.IsDisk(h.Name) {
			members = append(members, ova.Member{Name: h.Name, Size: h.Size, Sparse: ova.Sparse(h)})
		}
	}
	if len(members) > 1 {
		return &OpenError{Name: u.s.name, Format: rawimage.FormatOVA, Err: &ChoiceError{Members: members}}
	}
	return nil
}

// holes writes a file in sequence and leaves out zeros.
type holes struct {
	f   *tempFile
	pos int64
}

// Write writes the pages of p that are not zero.
func (h *holes) Write(p []byte) (int, error) {
	const page = 64 << 10
	for n := 0; n < len(p); n += page {
		part := p[n:min(n+page, len(p))]
		if !sparse.IsZero(part) {
			if _, err := h.f.WriteAt(part, h.pos); err != nil {
				return n, err
			}
		}
		h.pos += int64(len(part))
	}
	return len(p), nil
}

// peek returns the start of the content, which is still to be read.
func (r *run) peek() ([]byte, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r.head, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, r.fault(err)
	}
	r.head = io.MultiReader(strings.NewReader(string(head[:n])), r.head)
	return head[:n], nil
}
