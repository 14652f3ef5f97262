# Copyright The packages-operator Authors.
# SPDX-License-Identifier: Apache-2.0

# The static binary is built outside (make build), so that the image needs no
# base image and no network.
FROM scratch
COPY bin/packages-operator /packages-operator
USER 65532:65532
ENTRYPOINT ["/packages-operator"]
