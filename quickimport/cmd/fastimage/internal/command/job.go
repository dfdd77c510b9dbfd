package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport"
)

func (a *app) jobCmd() *cobra.Command {
	var cloud cloudFlags
	var wait, asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "job [flags] ID",
		Short: "show a job of the image service, or follow it to its end",
		Long: `Job prints the state of the job that makes an image; with --wait it follows the
job to its end. The exit status is 4 when the job has failed in the cloud.

With --json it prints the service's answer: job_id, job_type, status (INIT,
RUNNING, SUCCESS, FAIL), begin_time, end_time, error_code, fail_reason, entities
(image_id, image_name, current_task, process_percent, error_code, error,
addition_error_code, addition_error_msg).`,
		Example: `  fastimage job --region cn-north-4 --wait 8a12fc664fb4daa3014fb4e581380005`,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usagef("--timeout %s: want a time such as 30m", timeout)
			}
			show := a.progress()
			defer show.finish()
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			ctx, cancel := (&followFlags{timeout: timeout}).context(cmd.Context())
			defer cancel()
			job, err := findJob(ctx, client, args[0], wait, events(show))
			show.finish()
			if job != nil {
				err = errors.Join(a.printJob(job, asJSON), err)
			}
			return a.late(ctx, err)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the job has ended")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "stop waiting after this time, for instance 30m; the job goes on (default: none)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	cloud.add(a, cmd)
	return cmd
}

// findJob reads a job; one that has failed is returned with the error that says so.
func findJob(ctx context.Context, c *quickimport.Client, id string, wait bool, events quickimport.ImportOption) (job *quickimport.Job, err error) {
	if wait {
		job, err = c.WaitJob(ctx, id, events)
	} else {
		job, err = c.Job(ctx, id)
	}
	if failed, ok := errors.AsType[*quickimport.JobError](err); ok {
		return &failed.Job, err
	}
	if err == nil && job.Status == quickimport.JobFail {
		err = &quickimport.JobError{Job: *job}
	}
	return job, err
}

func (a *app) printJob(j *quickimport.Job, asJSON bool) error {
	if asJSON {
		return a.printJSON(j)
	}
	lines := []string{"job      " + j.ID, "status   " + string(j.Status)}
	for _, p := range [][2]string{
		{"type", j.Type}, {"began", j.BeginTime}, {"ended", j.EndTime}, {"image", j.Entities.ImageID}, {"name", j.Entities.ImageName},
		{"task", j.Entities.CurrentTask}, {"error", strings.TrimSpace(j.ErrorCode + " " + j.FailReason)},
		{"detail", strings.TrimSpace(j.Entities.ErrorCode + " " + j.Entities.Error)},
		{"cause", strings.TrimSpace(j.Entities.AdditionErrorCode + " " + j.Entities.AdditionErrorMsg)},
	} {
		if p[1] != "" {
			lines = append(lines, fmt.Sprintf("%-8s %s", p[0], p[1]))
		}
	}
	if j.Status != quickimport.JobSuccess {
		lines = append(lines, fmt.Sprintf("percent  %g", j.Entities.ProcessPercent))
	}
	_, err := fmt.Fprint(a.stdout, oneLineEach(lines))
	return err
}

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

func listImages(ctx context.Context, c *quickimport.Client, name string) (found []quickimport.ImageInfo, err error) {
	if name != "" {
		return c.ImagesByName(ctx, name)
	}
	for img, err := range c.Images(ctx) {
		if err != nil {
			return nil, err
		}
		found = append(found, img)
	}
	return found, nil
}

func (a *app) imagesCmd() *cobra.Command {
	var cloud cloudFlags
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "images [flags]",
		Short: "list the private images of the project",
		Long: `Images lists the private images of the project, a line each: time of creation,
id, status, least disk, name.

With --json it prints one object: images, a list of id, name, status, min_disk
(GB), created, origin (what the image was made of, where the service says).`,
		Example: `  fastimage images --region cn-north-4 --name web-1`,
		Args:    argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			rep := imagesReport{Images: []imageEntry{}}
			found, err := listImages(cmd.Context(), client, name)
			if err != nil {
				return err
			}
			for _, img := range found {
				rep.Images = append(rep.Images, imageEntry{img.ID, img.Name, string(img.Status), img.MinDisk, img.CreatedAt.UTC(), img.Origin})
			}
			if asJSON {
				return a.printJSON(rep)
			}
			for _, i := range rep.Images {
				line := fmt.Sprintf("%s\t%s\t%s\t%dGiB\t%s", i.Created.Format(time.RFC3339), i.ID, i.Status, i.MinDisk, oneLine(i.Name))
				if _, err := fmt.Fprintln(a.stdout, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&name, "name", "", "only the images of exactly this name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	cloud.add(a, cmd)
	return cmd
}
