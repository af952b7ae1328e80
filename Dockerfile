# Purser in a container: `docker build -t purser .`, then see docker-compose.yml.
# The service needs a DATABASE_URL here: the image does not hold the embedded Postgres of `npm start`.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The service needs no install script to run. The only optional packages are the embedded Postgres.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
WORKDIR /app
# The only folder that the service writes to, for archived cost records. The root file system may be read-only.
RUN install --directory --owner=1000 --group=1000 --mode=0750 /var/lib/purser
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    PURSER_DATA_DIR=/var/lib/purser
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json openapi.yaml ./
COPY migrations ./migrations
COPY src ./src

# The user `node` of the base image, by number, so that an orchestrator can see that it isn't root.
USER 1000:1000
EXPOSE 8080
# The server stops taking requests, answers those it has, and ends.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`, { signal: AbortSignal.timeout(2500) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# As in package.json. The heap grows in small steps, which takes half the memory at the same speed.
CMD ["node", "--heap-growing-percent=50", "--max-semi-space-size=8", "--import", "./src/telemetry/start.ts", "src/server.ts"]
