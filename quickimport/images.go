package quickimport

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ImageStatus is the state of an image; values that are not listed here are kept.
type ImageStatus string

// States of images.
const (
	ImageQueued  ImageStatus = "queued"  // waits to be created
	ImageSaving  ImageStatus = "saving"  // is being created
	ImageActive  ImageStatus = "active"  // usable
	ImageKilled  ImageStatus = "killed"  // could not be created
	ImageDeleted ImageStatus = "deleted" // was deleted
)

// ImageInfo is an image as the service lists it.
type ImageInfo struct {
	ID        string      `json:"id"`         // what other services know it by
	Name      string      `json:"name"`       // as asked for
	Status    ImageStatus `json:"status"`     // whether it can be used
	MinDisk   int         `json:"min_disk"`   // GB
	Size      int64       `json:"size"`       // as the service lists it
	CreatedAt time.Time   `json:"created_at"` // zero if unknown

	// Origin is where the image comes from, "file,BUCKET:KEY" for one that was
	// made from an object; "" where the service does not say.
	Origin string `json:"__data_origin"`
	// LazyLoading reports whether servers boot from the image while it is being
	// copied; nil where the service does not say.
	LazyLoading *bool `json:"__lazyloading"`
}

// UnmarshalJSON reads what there is: a field of another type than documented
// must not make a whole list unreadable.
func (i *ImageInfo) UnmarshalJSON(data []byte) error {
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	number := func(key string) int64 { n, _ := looseNumber(m[key]); return int64(min(max(n, 0), 1<<62)) }
	*i = ImageInfo{
		ID: looseText(m["id"]), Name: looseText(m["name"]), Status: ImageStatus(strings.ToLower(looseText(m["status"]))),
		MinDisk: int(number("min_disk")), Size: number("size"), Origin: looseText(m["__data_origin"]),
	}
	i.CreatedAt, _ = time.Parse(time.RFC3339, looseText(m["created_at"]))
	switch v := m["__lazyloading"].(type) {
	case bool:
		i.LazyLoading = &v
	case string:
		if on, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
			i.LazyLoading = &on
		}
	}
	return nil
}

// ImagesByName lists the private images that have exactly this name.
func (c *Client) ImagesByName(ctx context.Context, name string) ([]ImageInfo, error) {
	return c.imagePage(ctx, c.o.retryBudget, url.Values{"name": {name}, "__imagetype": {"private"}})
}

// ImageByID finds an image; its error matches [ErrNotFound] when there is none.
func (c *Client) ImageByID(ctx context.Context, id string) (*ImageInfo, error) {
	return c.imageByID(ctx, id, c.o.retryBudget)
}

func (c *Client) imageByID(ctx context.Context, id string, budget cloudBudget) (*ImageInfo, error) {
	found, err := c.imagePage(ctx, budget, url.Values{"id": {id}})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].ID != id {
		return nil, pkg.Errorf("image %s: %w", id, ErrNotFound)
	}
	return &found[0], nil
}

// imagesPerPage is how many images one request asks for.
const imagesPerPage = 100

// Images lists the private images of the project. It can be ranged over again;
// an error comes at most once and last.
func (c *Client) Images(ctx context.Context) iter.Seq2[ImageInfo, error] {
	return func(yield func(ImageInfo, error) bool) {
		seen := map[string]bool{} // a service that repeats a page must not keep us for ever
		for marker := ""; ; {
			q := url.Values{"__imagetype": {"private"}, "limit": {strconv.Itoa(imagesPerPage)}}
			if marker != "" {
				q.Set("marker", marker)
			}
			page, err := c.imagePage(ctx, c.o.retryBudget, q)
			if err != nil {
				yield(ImageInfo{}, err)
				return
			}
			before := len(seen)
			for _, img := range page {
				if !seen[img.ID] && !yield(img, nil) {
					return
				}
				seen[img.ID] = true
			}
			if len(page) < imagesPerPage || len(seen) == before {
				return
			}
			marker = page[len(page)-1].ID
		}
	}
}

func (c *Client) imagePage(ctx context.Context, budget cloudBudget, q url.Values) ([]ImageInfo, error) {
	var answer struct {
		Images []ImageInfo `json:"images"`
	}
	err := c.getWithin(ctx, budget, "images", c.o.ims, "/v2/cloudimages", q, &answer)
	return answer.Images, err
}

// deleteImage removes an image; one that is not there is no error.
func (c *Client) deleteImage(ctx context.Context, id string) error {
	err := c.do(ctx, call{op: "delete image", method: http.MethodDelete, endpoint: c.o.ims, path: "/v2/images/" + url.PathEscape(id)}, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Quota is how many images a project has and may have; Limit is -1 where
// there is no limit.
type Quota struct {
	Used  int `json:"used"`  // images there are
	Limit int `json:"quota"` // images there may be, -1 without limit
}

// ImageQuota reads the project's quota of images.
func (c *Client) ImageQuota(ctx context.Context) (*Quota, error) {
	var answer struct {
		Quotas struct {
			Resources []struct {
				Type string `json:"type"`
				Quota
			} `json:"resources"`
		} `json:"quotas"`
	}
	if err := c.get(ctx, "quota", c.o.ims, "/v1/cloudimages/quota", nil, &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Quotas.Resources {
		if r.Type == "image" {
			return &r.Quota, nil
		}
	}
	return nil, pkg.Errorf("quota: %w: none for images", ErrProtocol)
}
