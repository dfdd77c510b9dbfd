package quickimport

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"time"

	"github.com/fastimage/fastimage/rawimage/httpfile"
	"github.com/fastimage/fastimage/rawimage/nbd"
	"github.com/fastimage/fastimage/uploader"
)

// checkTimeout bounds the question whether a remote source has changed.
const checkTimeout = 2 * time.Minute

// HTTP is the disk image at an http or https URL. It is read in place by range
// requests, and pinned to its ETag or Last-Modified, which with the URL are its
// identity. From a server without ranges it is read as a stream, once: then it
// has to be RAW, or ZVHD2. See [httpfile].
func HTTP(rawURL string, opts ...httpfile.Option) Source { return &httpSource{rawURL, opts} }

type httpSource struct {
	url  string
	opts []httpfile.Option
}

// Name is the URL without what may be secret in it.
func (h *httpSource) Name() string { return cleanURL(h.url) }

func cleanURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "invalid URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func (h *httpSource) Open(ctx context.Context, _ *Client) (*Input, error) {
	f, err := httpfile.Open(ctx, h.url, h.opts...)
	if err != nil {
		return nil, err
	}
	size, _ := f.Size()
	in := &Input{Size: size, Remote: true, Identity: f.Identity(), Close: f.Close}
	if !f.Ranges() {
		r, err := f.Stream(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		in.Reader, in.Close = r, r.Close
		return in, nil
	}
	in.ReaderAt = f
	in.CheckUnchanged = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		return f.CheckUnchanged(ctx)
	}
	return in, nil
}

// NBD is the RAW disk, or the disk image, behind an NBD server, by a URI such as
// nbd://host:10809/export or nbd+unix:///export?socket=path (see [nbd.Dial]).
// What the server calls a hole is not read. The protocol has nothing to identify
// a disk by, so identity is the caller's: the name of a snapshot, say. It may be
// "": then nothing is resumed.
func NBD(uri, identity string, opts ...nbd.Option) Source { return &nbdSource{uri, identity, opts} }

type nbdSource struct {
	uri, identity string
	opts          []nbd.Option
}

// Name is the URI without its parameters, which may name files with keys.
func (n *nbdSource) Name() string { return cleanURL(n.uri) }

func (n *nbdSource) Open(ctx context.Context, _ *Client) (*Input, error) {
	e, err := nbd.Dial(ctx, n.uri, n.opts...)
	if err != nil {
		return nil, err
	}
	return &Input{ReaderAt: e, Size: e.Size(), Remote: true, Identity: n.identity, Close: e.Close}, nil
}

// Object is the disk image in an object: QCOW2, VMDK, VHD, RAW or any other
// format, read in place by range requests and pinned to its ETag, which with
// endpoint, bucket and key is its identity. storage reads it: another region,
// account or S3 service than the import's is possible. nil is the storage of the
// client that imports.
func Object(storage *uploader.Client, bucket, key string) Source {
	return &objectSource{storage, bucket, key}
}

type objectSource struct {
	storage     *uploader.Client
	bucket, key string
}

func (o *objectSource) Name() string { return "obs://" + path.Join(o.bucket, o.key) }

func (o *objectSource) Open(ctx context.Context, c *Client) (*Input, error) {
	storage := o.storage
	if storage == nil && c != nil {
		storage = c.obs
	}
	if storage == nil {
		return nil, pkg.Errorf("%s: %w: an object needs a storage client", o.Name(), ErrNoCredentials)
	}
	object, err := storage.OpenObject(ctx, o.bucket, o.key)
	if err != nil {
		return nil, err
	}
	info := object.Info()
	return &Input{
		ReaderAt: object, Size: object.Size(), Remote: true,
		Identity: fmt.Sprintf("%s %s %s %s %d", storage.Endpoint(), o.bucket, o.key, info.ETag, info.Size),
		CheckUnchanged: func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
			defer cancel()
			now, err := storage.HeadObject(ctx, o.bucket, o.key)
			if err == nil && (now.ETag != info.ETag || now.Size != info.Size) {
				err = fmt.Errorf("%s: %w", o.Name(), uploader.ErrObjectChanged)
			}
			return err
		},
		Close: object.Close,
	}, nil
}
