package command

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

// imagesReport is what images --json prints. The names are stable.
type imagesReport struct {
	Images []imageEntry `json:"images"`
}

type imageEntry struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Status  string    `json:"status"`
	MinDisk int       `json:"min_disk"`
	Created time.Time `json:"created"`
	Origin  string    `json:"origin"`
}

func newImageEntry(img quickimport.ImageInfo) imageEntry {
	return imageEntry{img.ID, img.Name, string(img.Status), img.MinDisk, img.CreatedAt.UTC(), img.Origin}
}

func (e imageEntry) created() string {
	if e.Created.IsZero() {
		return ""
	}
	return e.Created.Format(time.RFC3339)
}

// minute is a time in a table, "" if it is unknown.
func minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2006-01-02 15:04")
}

func (e imageEntry) minDisk() string { return strconv.Itoa(e.MinDisk) + "GiB" }

const imageFieldsHelp = `id, name, status, min_disk (in GiB), created, origin (the object that the image
was made from, where the service says)`

func (a *app) imagesCmd() *cobra.Command {
	var cloud cloudFlags
	var list listFlags
	var name string
	cmd := &cobra.Command{
		Use:   "images [flags]",
		Short: "list, show and delete the private images of the project",
		Long: `Images lists the private images of the project in a table.

With --output json (or --json) it prints one object: images, a list of ` + imageFieldsHelp + `.`,
		Example: `  fastimage images --region cn-north-4
  fastimage images --region cn-north-4 --name web-1 --output json`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			found, err := listImages(cmd.Context(), client, name)
			if err != nil {
				return err
			}
			return a.printImages(found, list.asJSON())
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		fl.StringVar(&name, "name", "", "only the images with exactly this name")
		list.add(fl)
	})
	cloud.add(a, cmd)
	cmd.AddCommand(a.imagesShowCmd(), a.imagesDeleteCmd())
	return cmd
}

func listImages(ctx context.Context, c *quickimport.Client, name string) (found []imageEntry, err error) {
	if name != "" {
		images, err := c.ImagesByName(ctx, name)
		for _, img := range images {
			found = append(found, newImageEntry(img))
		}
		return found, err
	}
	for img, err := range c.Images(ctx) {
		if err != nil {
			return nil, err
		}
		found = append(found, newImageEntry(img))
	}
	return found, nil
}

func (a *app) printImages(found []imageEntry, asJSON bool) error {
	if asJSON {
		return a.printJSON(imagesReport{append([]imageEntry{}, found...)})
	}
	var rows [][]string
	for _, e := range found {
		rows = append(rows, []string{e.ID, e.Status, e.minDisk(), minute(e.Created), e.Name})
	}
	return a.printTable([]string{"ID", "STATUS", "DISK", "CREATED", "NAME"}, rows)
}

func (a *app) imagesShowCmd() *cobra.Command {
	var cloud cloudFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [flags] ID",
		Short: "show one image",
		Long: `Show prints what the service says of an image. With --json it prints one object: ` +
			imageFieldsHelp + `.`,
		Example: `  fastimage images show --region cn-north-4 4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba86`,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			img, err := client.ImageByID(cmd.Context(), args[0])
			if err != nil {
				return noSuchImage(err)
			}
			e := newImageEntry(*img)
			if asJSON {
				return a.printJSON(e)
			}
			return a.print(oneLineEach(pairs(9, [2]string{"id", e.ID}, [2]string{"name", e.Name}, [2]string{"status", e.Status},
				[2]string{"min disk", e.minDisk()}, [2]string{"created", e.created()}, [2]string{"origin", e.Origin})))
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	cloud.add(a, cmd)
	return cmd
}

// noSuchImage says where the ids of images are.
func noSuchImage(err error) error {
	if errors.Is(err, quickimport.ErrNotFound) {
		return advisef("'fastimage images' lists the images of the project", "%w", err)
	}
	return err
}

// jsonFlag adds the flag by which a command prints JSON.
func jsonFlag(fl *pflag.FlagSet, p *bool) {
	fl.BoolVar(p, "json", false, "print one JSON object on standard output, and errors as JSON")
}

func (a *app) imagesDeleteCmd() *cobra.Command {
	var cloud cloudFlags
	cmd := &cobra.Command{
		Use:   "delete [flags] ID...",
		Short: "delete images",
		Long: `Delete deletes private images by their ids. The object that an image was made from
stays in its bucket, and servers that were created from the image keep running.
All images are looked up before the first is deleted.`,
		Example: `  fastimage images delete --region cn-north-4 4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba86`,
		Args:    argCount(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			return a.deleteImages(cmd.Context(), client, args)
		},
	}
	cloud.add(a, cmd)
	return cmd
}

func (a *app) deleteImages(ctx context.Context, client *quickimport.Client, ids []string) error {
	var found []*quickimport.ImageInfo
	for _, id := range ids {
		img, err := client.ImageByID(ctx, id)
		if err != nil {
			return noSuchImage(err)
		}
		found = append(found, img)
	}
	for _, img := range found {
		if err := client.DeleteImage(ctx, img.ID); err != nil {
			return err
		}
		if !a.quiet {
			fmt.Fprintf(a.stderr, "deleted %s (%s)\n", img.ID, oneLine(img.Name))
		}
	}
	return nil
}
