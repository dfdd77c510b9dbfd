package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/zvhd2"
)

// source is an input file: a RAW image, a container with an index, or one that
// can only be read in sequence. Exactly one of the first three is set.
type source struct {
	raw       *rawimage.Image
	container *zvhd2.Reader
	stream    *zvhd2.StreamReader
	file      *os.File // below stream
}

// openRaw opens a RAW image and refuses one that its own partition table says
// is cut short: what the cloud would make of it does not start.
func openRaw(ctx context.Context, name string) (*rawimage.Image, error) {
	raw, err := rawimage.Open(name)
	if err != nil {
		return nil, err
	}
	if _, err := raw.Inspect(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return raw, nil
}

// open opens name as what its content says it is.
func open(ctx context.Context, name string) (*source, error) {
	raw, err := openRaw(ctx, name)
	if err == nil {
		return &source{raw: raw}, nil
	}
	foreign, ok := errors.AsType[*rawimage.ForeignFormatError](err)
	if !ok {
		return nil, err
	}
	s := &source{}
	switch foreign.Format {
	case rawimage.FormatZVHD2:
		s.container, err = zvhd2.Open(name)
	case rawimage.FormatZVHD:
		err = s.openStream(name)
	default:
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (s *source) openStream(name string) (err error) {
	if s.file, err = os.Open(name); err != nil {
		return err
	}
	if s.stream, err = zvhd2.NewStreamReader(bufio.NewReaderSize(s.file, 1<<20)); err != nil {
		s.file.Close()
	}
	return err
}

// format is raw, zvhd2 or zvhd.
func (s *source) format() string {
	switch {
	case s.raw != nil:
		return string(rawimage.FormatRaw)
	case s.container != nil:
		return string(rawimage.FormatZVHD2)
	}
	return string(rawimage.FormatZVHD)
}

// decode writes the disk in a container to out: with holes into a file, in
// sequence to standard output.
func (s *source) decode(ctx context.Context, out *output, opts ...zvhd2.Option) error {
	switch {
	case s.container != nil && out.std:
		return zvhd2.DecodeTo(ctx, out.File, s.container, opts...)
	case s.container != nil:
		return zvhd2.Decode(ctx, out.File, s.container, opts...)
	case out.std:
		return s.stream.DecodeTo(ctx, out.File, opts...)
	}
	return s.stream.Decode(ctx, out.File, opts...)
}

// size is that of the disk.
func (s *source) size() int64 {
	switch {
	case s.raw != nil:
		return s.raw.Size()
	case s.container != nil:
		return s.container.Size()
	}
	return s.stream.Size()
}

// Close closes the file below.
func (s *source) Close() error {
	switch {
	case s.raw != nil:
		return s.raw.Close()
	case s.container != nil:
		return s.container.Close()
	}
	return s.file.Close()
}

var _ io.Closer = (*source)(nil)
