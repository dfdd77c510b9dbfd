package anyimage

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/rawimage"
)

// MaxStreamSize is the largest disk that is read from a stream, 1 TiB: the most
// that the cloud takes, and that a decompression bomb can cost.
const MaxStreamSize = 1 << 40

const (
	// inputSize is how much is read of the compressed file at once.
	inputSize = 256 << 10
	// countStep is how much is decompressed between two looks at the context.
	countStep = 1 << 20
	// reportEvery is how often a pass that counts reports.
	reportEvery = 200 * time.Millisecond
)

// Stream is the RAW disk in a compressed file, read from its start to its end. It
// is not safe for concurrent use, ReadAt excepted.
type Stream struct {
	reading sync.Mutex // held by Read, and while its decoder is closed

	name   string
	format rawimage.Format
	file   *rawimage.Image
	o      *options
	zip    *zip.File // the member, of a zip archive
	raw    bool      // the content is RAW whatever it looks like
	size   int64     // of the disk
	run    *run      // what Read reads, from the first one on
	at     rewinder
}

// OpenStream opens the RAW disk compressed in the file name: with gzip, xz, zstd,
// bzip2 or lz4, of any number of members, streams or frames, or in a zip archive
// as its only member. Its size is that of WithSize, or what the file's own index or
// headers say (xz, zstd, zip), or found by decompressing the file once, which takes
// as long as reading it and is ended by ctx. It is always checked when the disk is
// read.
//
// An image of another format in the file is an *UnsupportedError, which OpenAny
// reads; a file that is not compressed an *OpenError.
func OpenStream(ctx context.Context, name string, opts ...Option) (*Stream, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if o.format != "" && o.format != rawimage.FormatRaw {
		return nil, &UnsupportedError{Name: name, Format: o.format}
	}
	file, err := rawimage.Open(name, rawimage.WithAnyFormat())
	if err != nil {
		return nil, err
	}
	s, err := openStream(ctx, file, name, o)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

func openStream(ctx context.Context, file *rawimage.Image, name string, o *options) (*Stream, error) {
	s, err := newStream(file, name, o)
	if err != nil {
		return nil, err
	}
	return s, s.open(ctx)
}

// newStream makes a Stream that knows how to decompress, not yet what.
func newStream(file *rawimage.Image, name string, o *options) (*Stream, error) {
	format, err := rawimage.Detect(file, file.Size())
	if err != nil {
		return nil, err
	}
	if !compressed(format) {
		return nil, &OpenError{Name: name, Format: format, Err: errNotCompressed}
	}
	s := &Stream{name: name, format: format, file: file, o: o, raw: o.format == rawimage.FormatRaw, size: o.size}
	s.at.open = s.start
	if format == rawimage.FormatZip {
		if s.zip, err = zipMember(file, o); err != nil {
			return nil, s.fault(0, err)
		}
		if s.size == 0 {
			s.size = int64(s.zip.UncompressedSize64)
		}
	}
	return s, nil
}

var errNotCompressed = errors.New("not compressed")

// open looks at what is inside, and finds the size.
func (s *Stream) open(ctx context.Context) error {
	r, err := s.start()
	if err != nil {
		return err
	}
	defer r.close()
	if s.size == 0 {
		s.size = knownSize(ctx, s.file, s.format)
	}
	if s.size == 0 {
		err = s.count(ctx, r, s.o.progress)
	}
	switch limit := s.limit(); {
	case err != nil:
	case s.size > limit:
		err = &SizeError{Name: s.name, Want: limit, Got: -1, Limit: true}
	case s.size == 0:
		err = &rawimage.OpenError{Name: s.name, Err: rawimage.ErrEmpty}
	}
	return err
}

// limit is the most that is decompressed.
func (s *Stream) limit() int64 { return min(s.o.maxSize, MaxStreamSize) }

// count finds the size by decompressing everything.
func (s *Stream) count(ctx context.Context, r *run, progress func(Progress)) error {
	report := func() {
		if progress != nil {
			progress(Progress{Done: r.in.read.Load(), Total: s.file.Size()})
		}
	}
	buf := make([]byte, countStep)
	for last := time.Now(); ; {
		n, err := r.Read(buf)
		s.at.note(buf[:n], r.pos)
		if err == io.EOF {
			s.size = r.pos
			s.at.size = r.pos
			report()
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(last) > reportEvery {
			report()
			last = time.Now()
		}
	}
}

// Name returns the name given to OpenStream.
func (s *Stream) Name() string { return s.name }

// Format returns how the disk is compressed: gzip, xz, zstd, bzip2, lz4 or zip.
func (s *Stream) Format() rawimage.Format { return s.format }

// Size returns the bytes of the disk.
func (s *Stream) Size() int64 { return s.size }

// FileSize returns the bytes of the compressed file.
func (s *Stream) FileSize() int64 { return s.file.Size() }

// CheckUnchanged is [rawimage.Image.CheckUnchanged] for the compressed file.
func (s *Stream) CheckUnchanged() error { return s.file.CheckUnchanged() }

// Read reads the next bytes of the disk. io.EOF says that all Size bytes were read, that the
// checksums of the file are right, and that nothing follows. A disk that is longer
// or shorter is a *SizeError, damage a *FormatError.
func (s *Stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.run == nil {
		var err error
		if s.run, err = s.start(); err != nil {
			return 0, err
		}
	}
	return s.run.Read(p)
}

// ReadAt reads anywhere in the disk, independently of Read and by any number of
// goroutines, one at a time. It decompresses the file on its own, from the start
// again when it has to go back by more than a mebibyte. That is meant for a look
// at the partition table, or for reading forward with gaps.
func (s *Stream) ReadAt(p []byte, off int64) (int, error) { return s.at.readAt(p, off, s.size) }

// Close closes the file. A Read that is still running, which whoever was
// interrupted has not waited for, ends first: the file is closed then.
func (s *Stream) Close() error {
	if !s.reading.TryLock() {
		go func() {
			s.reading.Lock()
			defer s.reading.Unlock()
			_ = s.close() // read only: nothing to lose
		}()
		return nil
	}
	defer s.reading.Unlock()
	return s.close()
}

func (s *Stream) close() error {
	if s.run != nil {
		s.run.close()
	}
	s.at.close()
	return s.file.Close()
}

// run is one way through the file.
type run struct {
	s    *Stream
	in   *input
	dec  io.ReadCloser
	head io.Reader // what was decompressed to be looked at, then dec
	pos  int64     // bytes of the disk read
	tail []byte    // the last of them
	err  error     // sticky
}

// start begins to decompress and refuses what is not RAW.
func (s *Stream) start() (*run, error) {
	r := &run{s: s, in: &input{r: io.NewSectionReader(s.file, 0, s.file.Size())}, tail: make([]byte, 0, tailSize)}
	var err error
	if r.dec, err = s.decoder(r.in); err != nil {
		return nil, r.fault(err)
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(r.dec, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { // which comes again
		r.close()
		return nil, r.fault(err)
	}
	if err := s.admit(head[:n], nil); err != nil {
		r.close()
		return nil, err
	}
	r.head = io.MultiReader(bytes.NewReader(head[:n]), r.dec)
	return r, nil
}

// decoder begins to decompress in.
func (s *Stream) decoder(in *input) (io.ReadCloser, error) {
	if s.zip == nil {
		return decoders[s.format](bufio.NewReaderSize(in, inputSize), s.o)
	}
	// The archive is read by way of its directory, so what is counted is the
	// member's output; errors of the file are those of its reads.
	return s.zip.Open()
}

// admit refuses an image of another format inside the file.
func (s *Stream) admit(head, tail []byte) error {
	if f := rawimage.DetectFormat(head, tail); f != rawimage.FormatRaw && f != rawimage.FormatText && !s.raw {
		return &UnsupportedError{Name: s.name, Format: f, Inside: s.format}
	}
	return nil
}

func (r *run) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.head.Read(p)
	limit := r.s.limit()
	if r.s.size > 0 {
		limit = r.s.size
	}
	if r.pos+int64(n) > limit {
		n = int(limit - r.pos)
		err = &SizeError{Name: r.s.name, Want: limit, Got: -1, Limit: r.s.size == 0}
	}
	r.pos += int64(n)
	r.keepTail(p[:n])
	if err != nil {
		r.err = r.end(err)
	}
	return n, r.err
}

// end turns what ended the decompression into what ends the disk.
func (r *run) end(err error) error {
	if _, ok := errors.AsType[*SizeError](err); ok {
		return err
	}
	if err != io.EOF {
		return r.fault(err)
	}
	if r.s.size > 0 && r.pos != r.s.size {
		return &SizeError{Name: r.s.name, Want: r.s.size, Got: r.pos}
	}
	// A fixed VHD has its mark at its end only.
	if err := r.s.admit(nil, r.tail); err != nil {
		return err
	}
	return io.EOF
}

// fault tells damage from a file that could not be read.
func (r *run) fault(err error) error {
	if in := r.in.err.Load(); in != nil {
		return *in
	}
	return r.s.fault(r.pos, err)
}

// fault is the error of a decompressor, after pos bytes of the disk.
func (s *Stream) fault(pos int64, err error) error {
	if _, ok := errors.AsType[*FormatError](err); ok {
		return &OpenError{Name: s.name, Format: s.format, Err: err}
	}
	if _, ok := errors.AsType[*ChoiceError](err); ok {
		return &OpenError{Name: s.name, Format: s.format, Err: err}
	}
	// A frame in one segment has all of its content for a window.
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = &WindowError{Need: zstdWindow(context.Background(), s.file, s.file.Size(), s.o.window), Limit: s.o.window}
	}
	e := imageerr.Format(s.format).New(kindOf(err), imageerr.None, "compressed data", "after %d bytes of the disk: %w", pos, err)
	return &OpenError{Name: s.name, Format: s.format, Err: e}
}

func (r *run) keepTail(p []byte) {
	p = p[max(0, len(p)-tailSize):]
	drop := max(0, len(r.tail)+len(p)-tailSize)
	r.tail = append(r.tail[:copy(r.tail, r.tail[drop:])], p...)
}

func (r *run) close() {
	if r.dec != nil {
		_ = r.dec.Close() // read only: nothing to lose
	}
}

// input counts what is read of the file, and keeps an error of it apart from what
// a decompressor makes of it. Decompressors may read in a goroutine of their own.
type input struct {
	r    io.Reader
	read atomic.Int64
	err  atomic.Pointer[error]
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.read.Add(int64(n))
	if err != nil && err != io.EOF {
		in.err.Store(&err)
	}
	return n, err
}
