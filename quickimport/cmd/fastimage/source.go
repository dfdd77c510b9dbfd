package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/zvhd2"
)

// source is an input file of either kind; exactly one of raw and container is
// set.
type source struct {
	raw       *rawimage.Image
	container *zvhd2.Reader
}

// open opens name as what its content says it is.
func open(name string) (*source, error) {
	raw, err := rawimage.Open(name)
	if err == nil {
		return &source{raw: raw}, nil
	}
	if f, ok := errors.AsType[*rawimage.ForeignFormatError](err); ok && isContainer(f.Format) {
		r, err := zvhd2.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &source{container: r}, nil
	}
	return nil, err
}

func isContainer(f rawimage.Format) bool {
	return f == rawimage.FormatZVHD2
}

func (s *source) Close() error {
	if s.raw != nil {
		return s.raw.Close()
	}
	return s.container.Close()
}

var _ io.Closer = (*source)(nil)
