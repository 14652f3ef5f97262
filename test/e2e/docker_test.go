// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const mebibyte = 1 << 20

// person sits at a computer with a Docker configuration of their own.
type person struct {
	config string
}

func newPerson() *person {
	return &person{config: GinkgoT().TempDir()}
}

// loggedIn is a person who ran docker login.
func loggedIn(ctx context.Context, host string, c credential) *person {
	GinkgoHelper()
	p := newPerson()
	out, err := p.login(ctx, host, c)
	Expect(err).NotTo(HaveOccurred(), "docker login: %s", out)
	Expect(out).To(ContainSubstring("Login Succeeded"))
	return p
}

func (p *person) login(ctx context.Context, host string, c credential) (string, error) {
	cmd := p.command(ctx, "login", host, "-u", c.user, "--password-stdin")
	cmd.Stdin = strings.NewReader(c.password)
	return p.run(cmd)
}

// docker runs docker and returns all that it says.
func (p *person) docker(ctx context.Context, args ...string) (string, error) {
	return p.run(p.command(ctx, args...))
}

// mustDocker is docker for what has to work.
func (p *person) mustDocker(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := p.docker(ctx, args...)
	Expect(err).NotTo(HaveOccurred(), "docker %s: %s", strings.Join(args, " "), out)
	return out
}

// refusedDocker is docker for what has to fail, saying why.
func (p *person) refusedDocker(ctx context.Context, why string, args ...string) string {
	GinkgoHelper()
	out, err := p.docker(ctx, args...)
	Expect(err).To(HaveOccurred(), "docker %s succeeded: %s", strings.Join(args, " "), out)
	Expect(out).To(ContainSubstring(why), "docker %s", strings.Join(args, " "))
	return out
}

func (p *person) command(ctx context.Context, args ...string) *exec.Cmd {
	GinkgoHelper()
	cmd, err := env.cluster.Docker().Command(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+p.config, "DOCKER_BUILDKIT=0")
	return cmd
}

func (p *person) run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	GinkgoWriter.Printf("$ %s\n%s", strings.Join(cmd.Args, " "), out)
	return string(out), err
}

// pushWatched pushes and calls layerPushed at the first layer that docker says is
// pushed, while others are still on their way.
func (p *person) pushWatched(ctx context.Context, image string, layerPushed func()) (string, error) {
	GinkgoHelper()
	cmd := p.command(ctx, "push", image)
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	Expect(cmd.Start()).To(Succeed())
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		_ = writer.Close()
	}()
	GinkgoWriter.Printf("$ %s\n", strings.Join(cmd.Args, " "))
	var out strings.Builder
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		GinkgoWriter.Println(lines.Text())
		fmt.Fprintln(&out, lines.Text())
		if layerPushed != nil && strings.HasSuffix(lines.Text(), ": Pushed") {
			layerPushed()
			layerPushed = nil
		}
	}
	Expect(layerPushed).To(BeNil(), "no layer was pushed")
	return out.String(), <-ended
}

// layersThat are the short ids of the layers whose line of docker push ends so.
func layersThat(output, end string) []string {
	var ids []string
	for line := range strings.Lines(output) {
		if id, what, found := strings.Cut(strings.TrimSpace(line), ": "); found && what == end {
			ids = append(ids, id)
		}
	}
	return ids
}

// build makes an image on nothing, with a layer of random bytes for each size.
func (p *person) build(ctx context.Context, image string, sizes ...int64) {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	dockerfile := "FROM scratch\n"
	for i, size := range sizes {
		name := fmt.Sprintf("layer-%d", i)
		writeRandom(filepath.Join(dir, name), size)
		dockerfile += fmt.Sprintf("COPY %s /\n", name)
	}
	p.buildIn(ctx, image, dir, dockerfile)
}

// buildHello makes an image that runs and says hello.
func (p *person) buildHello(ctx context.Context, image string) {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	goBuild(ctx, filepath.Join(dir, "hello"), "./hack/demo/hello")
	// So that no two images are the same.
	writeRandom(filepath.Join(dir, "salt"), 64)
	p.buildIn(ctx, image, dir, "FROM scratch\nCOPY hello salt /\nUSER 65532:65532\nENTRYPOINT [\"/hello\"]\n")
}

func (p *person) buildIn(ctx context.Context, image, dir, dockerfile string) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644)).To(Succeed())
	p.mustDocker(ctx, "build", "--quiet", "--tag", image, dir)
}

// pushNew builds a small image and pushes it.
func (p *person) pushNew(ctx context.Context, image string) {
	GinkgoHelper()
	p.build(ctx, image, 4<<10)
	p.mustDocker(ctx, "push", image)
}

// expectPull removes the image from the daemon and pulls it back: the very same.
func (p *person) expectPull(ctx context.Context, image string) {
	GinkgoHelper()
	before := p.imageID(ctx, image)
	p.mustDocker(ctx, "rmi", image)
	p.mustDocker(ctx, "pull", image)
	Expect(p.imageID(ctx, image)).To(Equal(before))
}

// imageID is the digest of the image's configuration, which names its layers'
// content.
func (p *person) imageID(ctx context.Context, image string) string {
	GinkgoHelper()
	return strings.TrimSpace(p.mustDocker(ctx, "image", "inspect", "--format", "{{.Id}}", image))
}

// repoDigest is the digest of the manifest that the registry knows the image by.
func (p *person) repoDigest(ctx context.Context, image string) string {
	GinkgoHelper()
	out := strings.TrimSpace(p.mustDocker(ctx, "image", "inspect", "--format", "{{index .RepoDigests 0}}", image))
	_, digest, found := strings.Cut(out, "@")
	Expect(found).To(BeTrue(), out)
	return digest
}

// randomFiles counts the files written, so that each gets bytes of its own.
var randomFiles uint64

func writeRandom(path string, size int64) {
	GinkgoHelper()
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(GinkgoRandomSeed()))
	randomFiles++
	binary.LittleEndian.PutUint64(seed[8:], randomFiles)
	file, err := os.Create(path)
	Expect(err).NotTo(HaveOccurred())
	_, err = io.CopyN(file, rand.NewChaCha8(seed), size)
	Expect(err).NotTo(HaveOccurred())
	Expect(file.Close()).To(Succeed())
}
