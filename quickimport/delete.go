package quickimport

import (
	"context"
	"net/http"
	"net/url"
)

// DeleteImage deletes an image; its error matches [ErrNotFound] when there is
// none. The object that the image was made from stays.
func (c *Client) DeleteImage(ctx context.Context, id string) error {
	return c.do(ctx, call{op: "delete image", method: http.MethodDelete, endpoint: c.o.ims, path: "/v2/images/" + url.PathEscape(id)}, nil)
}
