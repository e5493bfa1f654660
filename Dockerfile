# Sluice runs its TypeScript as it is: no build stage, only the dependencies.
FROM node:26-bookworm-slim
# openssl: deploy/setup.js makes the certificates of a first `docker compose up` with it.
RUN apt-get update && apt-get install -y --no-install-recommends openssl && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image's own Node is 26: the pinned platform packages stay out.
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force
COPY bin ./bin
COPY src ./src
COPY deploy/setup.js ./deploy/setup.js
COPY deploy/setup ./deploy/setup
# A checkout made under umask 077 has files that only their owner may read, and here that is root.
# /data: the one folder that is written to. A new volume takes its owner from here.
RUN chmod -R go+rX . && mkdir /data && chown node:node /data
ENV NODE_ENV=production
USER node
# The flags are those of src/app/heap.ts.
ENTRYPOINT ["node", "--max-semi-space-size=16", "--heap-growing-percent=30", "/app/bin/sluice.js"]
CMD ["start"]
